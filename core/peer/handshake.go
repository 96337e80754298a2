package peer

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"syscall"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
)

// purpose is what a connection is for. The numbers are the wire's.
type purpose uint8

const (
	forStream purpose = 1 + iota
	forTransfer
	forProbe
)

// greeting is what the one who dials says first: a Hello, and what is this package's
// own.
type greeting struct {
	Hello
	min, max uint64 // versions
	purpose  purpose
	// process tells starts of a member apart: two of them at a time are a copied data
	// directory.
	process uint64
	// peerURLs are those of one that probes.
	peerURLs []string
}

// reply is what the one who accepts says to a greeting: a welcome, unless it has a
// refusal.
type reply struct {
	cluster uint64
	self    core.MemberID
	new     bool   // see Hello
	version uint64 // the version that is spoken from now on
	refusal *Refusal
}

// The bodies of the handshake are protobuf messages, so that fields can be added. These
// are their fields; ids are fixed64.
const (
	fieldCluster = 1 + iota // in all of them
	fieldSelf               // who speaks
	fieldTo
	fieldName
	fieldMin // version
	fieldMax
	fieldPurpose
	fieldProcess
	fieldVersion
	fieldReason
	fieldRemoved // a bool of a refusal, ids in an introduction
	fieldMount
	fieldLeader
	fieldMember // a message of the following
	fieldPeerURL
	fieldNew       // a bool of who speaks
	fieldForgotten // a bool of a refusal
)

const (
	fieldMemberID = 1 + iota
	fieldMemberName
	fieldMemberPeerURL
	fieldMemberClientURL
	fieldMemberLearner
)

func appendID(b []byte, field protowire.Number, id uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), id)
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

// appendFlag appends a bool if it is true.
func appendFlag(b []byte, field protowire.Number, set bool) []byte {
	if !set {
		return b
	}
	return appendNumber(b, field, 1)
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// eachField calls take for each field of a message: with its number, or its bytes.
func eachField(b []byte, take func(field int, n uint64, text []byte) error) error {
	for len(b) > 0 {
		field, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var n uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			n, size = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			text, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(field, kind, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := take(int(field), n, text); err != nil {
			return err
		}
	}
	return nil
}

func (g *greeting) encode() []byte {
	b := appendID(nil, fieldCluster, g.Cluster)
	b = appendID(b, fieldSelf, uint64(g.From))
	b = appendID(b, fieldTo, uint64(g.To))
	b = appendText(b, fieldName, g.Name)
	b = appendNumber(b, fieldMin, g.min)
	b = appendNumber(b, fieldMax, g.max)
	b = appendNumber(b, fieldPurpose, uint64(g.purpose))
	for _, u := range g.peerURLs {
		b = appendText(b, fieldPeerURL, u)
	}
	b = appendFlag(b, fieldNew, g.New)
	return appendID(b, fieldProcess, g.process)
}

func decodeGreeting(b []byte) (greeting, error) {
	var g greeting
	err := eachField(b, func(field int, n uint64, text []byte) error {
		switch field {
		case fieldCluster:
			g.Cluster = n
		case fieldSelf:
			g.From = core.MemberID(n)
		case fieldTo:
			g.To = core.MemberID(n)
		case fieldName:
			g.Name = string(text)
		case fieldMin:
			g.min = n
		case fieldMax:
			g.max = n
		case fieldPurpose:
			g.purpose = purpose(min(n, 255))
		case fieldProcess:
			g.process = n
		case fieldPeerURL:
			g.peerURLs = append(g.peerURLs, string(text))
		case fieldNew:
			g.New = n != 0
		}
		return nil
	})
	return g, err
}

// agree is the newest version that both sides speak, zero if there is none.
func (g *greeting) agree() uint64 {
	version := min(g.max, maxVersion)
	if version < max(g.min, minVersion) {
		return 0
	}
	return version
}

func (r *reply) encode() (frameKind, []byte) {
	b := appendID(nil, fieldCluster, r.cluster)
	b = appendID(b, fieldSelf, uint64(r.self))
	if r.refusal == nil {
		return frameWelcome, appendFlag(appendNumber(b, fieldVersion, r.version), fieldNew, r.new)
	}
	b = appendText(b, fieldReason, r.refusal.Reason)
	b = appendFlag(b, fieldRemoved, r.refusal.Removed)
	return frameRefusal, appendFlag(b, fieldForgotten, r.refusal.Forgotten)
}

func decodeReply(kind frameKind, b []byte) (reply, error) {
	var r reply
	switch kind {
	case frameWelcome:
	case frameRefusal:
		r.refusal = new(Refusal)
	default:
		return r, fmt.Errorf("a frame of kind %d instead of a welcome", kind)
	}
	err := eachField(b, func(field int, n uint64, text []byte) error {
		switch {
		case field == fieldCluster:
			r.cluster = n
		case field == fieldSelf:
			r.self = core.MemberID(n)
		case field == fieldVersion:
			r.version = n
		case field == fieldReason && r.refusal != nil:
			r.refusal.Reason = string(text)
		case field == fieldRemoved && r.refusal != nil:
			r.refusal.Removed = n != 0
		case field == fieldForgotten && r.refusal != nil:
			r.refusal.Forgotten = n != 0
		case field == fieldNew:
			r.new = n != 0
		}
		return nil
	})
	return r, err
}

func (i *Introduction) encode() []byte {
	b := appendID(nil, fieldCluster, i.Cluster)
	b = appendID(b, fieldSelf, uint64(i.Self))
	b = appendText(b, fieldName, i.Name)
	b = appendText(b, fieldMount, i.Mount)
	b = appendID(b, fieldLeader, uint64(i.Leader))
	for j := range i.Members {
		b = appendText(b, fieldMember, string(encodeMember(&i.Members[j])))
	}
	for _, id := range i.Removed {
		b = appendID(b, fieldRemoved, uint64(id))
	}
	return b
}

func encodeMember(m *core.Member) []byte {
	b := appendID(nil, fieldMemberID, uint64(m.ID))
	b = appendText(b, fieldMemberName, m.Name)
	for _, u := range m.PeerURLs {
		b = appendText(b, fieldMemberPeerURL, u)
	}
	for _, u := range m.ClientURLs {
		b = appendText(b, fieldMemberClientURL, u)
	}
	return appendFlag(b, fieldMemberLearner, m.Learner)
}

func decodeIntroduction(b []byte) (Introduction, error) {
	var i Introduction
	err := eachField(b, func(field int, n uint64, text []byte) error {
		switch field {
		case fieldCluster:
			i.Cluster = n
		case fieldSelf:
			i.Self = core.MemberID(n)
		case fieldName:
			i.Name = string(text)
		case fieldMount:
			i.Mount = string(text)
		case fieldLeader:
			i.Leader = core.MemberID(n)
		case fieldRemoved:
			i.Removed = append(i.Removed, core.MemberID(n))
		case fieldMember:
			m, err := decodeMember(text)
			if err != nil {
				return err
			}
			i.Members = append(i.Members, m)
		}
		return nil
	})
	return i, err
}

func decodeMember(b []byte) (core.Member, error) {
	var m core.Member
	err := eachField(b, func(field int, n uint64, text []byte) error {
		switch field {
		case fieldMemberID:
			m.ID = core.MemberID(n)
		case fieldMemberName:
			m.Name = string(text)
		case fieldMemberPeerURL:
			m.PeerURLs = append(m.PeerURLs, string(text))
		case fieldMemberClientURL:
			m.ClientURLs = append(m.ClientURLs, string(text))
		case fieldMemberLearner:
			m.Learner = n != 0
		}
		return nil
	})
	return m, err
}

// stranger is what speaks something else, as far as it can be told.
type stranger string

// The strangers that are worth a name.
const (
	strangerTLS     stranger = "TLS"
	strangerHTTP    stranger = "HTTP"
	strangerUnknown stranger = "something else"
)

// readMagic reads the magic. An error of type stranger says that there is something
// else.
func readMagic(r io.Reader) error {
	var b [len(magic)]byte
	n, err := io.ReadFull(r, b[:])
	if n > 0 && string(b[:n]) != magic[:n] {
		return whoSpeaks(b[:n])
	}
	return err
}

func (s stranger) Error() string { return "it speaks " + string(s) }

// whoSpeaks guesses from the first bytes.
func whoSpeaks(b []byte) stranger {
	switch {
	case len(b) > 1 && (b[0] == 0x16 || b[0] == 0x15) && b[1] == 3: // a handshake or an alert, RFC 8446, 5.1
		return strangerTLS
	case bytes.HasPrefix(b, []byte("HTTP/")), isRequest(b):
		return strangerHTTP
	case len(b) == len(magic) && b[0] == 0 && b[1] == 0 && b[3] == 4 && b[4] == 0: // SETTINGS, RFC 9113, 6.5
		return strangerHTTP
	}
	return strangerUnknown
}

// isRequest reports whether b begins a request of HTTP: a method and a space; or one
// of HTTP/2, which begins likewise.
func isRequest(b []byte) bool {
	method, _, found := bytes.Cut(b, []byte(" "))
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(method) > 2 && (found || len(b) == len(magic)) // CONNECT and its space have eight letters
}

// explain says of an error at the handshake of one that dials what an operator can do.
func explain(err error) error {
	var s stranger
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) && bytes.HasPrefix(header.RecordHeader[:], []byte("HTTP")):
		return explain(strangerHTTP)
	case errors.As(err, &header):
		return errors.New("it does not answer TLS: is its peer URL http://?")
	case errors.As(err, &s) && s == strangerHTTP:
		return errors.New("it answers HTTP: is it an etcd, or a client URL?")
	case errors.As(err, &s) && s == strangerTLS:
		return errors.New("it answers TLS: is its peer URL https://?")
	case errors.As(err, &s):
		return errors.New("it does not answer as a member of Triglot does")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return errors.New("it closed the connection at the handshake: is it a peer URL of Triglot's, with TLS on both sides or on neither?")
	}
	return err
}
