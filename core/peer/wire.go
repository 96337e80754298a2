package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"
)

// What travels on a connection, in both directions: first the magic, then frames. A
// frame is a header, of the CRC-32C of all that follows it, the length of the body and
// the kind, and the body; numbers are little-endian. The first frame of each side is
// the handshake's (handshake.go), which agrees on the version of what comes after it.
//
// The magic's first byte begins neither TLS nor HTTP. Its end is that of a line, so
// that a server that expects a request answers at once, and can be named.
const magic = "\x8cTRIGP\r\n"

// The versions of the protocol that this member speaks. A change that others cannot
// read takes a new one; the older one stays for a minor version, for rolling upgrades.
const (
	minVersion = 1
	maxVersion = 1
)

type frameKind uint8

// The kinds of frames. The numbers are the wire's.
const (
	frameHello frameKind = 1 + iota
	frameWelcome
	frameRefusal
	frameIntroduction // instead of a welcome: what a probe is told
	frameMessage
	framePing // eight bytes, which the pong gives back
	framePong
	frameAlive // nothing but a sign of life
	frameQuestion
	frameAnswer
	frameFailure // instead of an answer
)

const (
	headerSize = 9

	// maxStrangerFrame bounds the body of a frame of somebody who has not been admitted,
	// maxReplyFrame that of what an acceptor says to it: an introduction lists members.
	maxStrangerFrame = 64 << 10
	maxReplyFrame    = 1 << 20

	// maxFrame bounds a body: an entry with one command of 512 MiB (node.MaxRequestLimit)
	// and what is around it.
	maxFrame = 514 << 20

	// maxQuestion bounds the body of a question or an answer: the renewals of some
	// hundred thousand sessions.
	maxQuestion = 4 << 20

	// readStep is what is allocated at first for a frame whose bytes have not come yet: a
	// full message of consensus (1 MiB, consensus.maxMessageBytes) and more.
	readStep = 2 << 20
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errChecksum = errors.New("a frame's checksum is wrong: it was damaged on its way")
)

// beginFrame appends the header of a frame, which endFrame completes when its body has
// been appended.
func beginFrame(b []byte, kind frameKind) []byte {
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(kind))
}

// endFrame completes a frame that is all of b.
func endFrame(b []byte) {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-headerSize))
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

// appendFrame appends a frame whose body is head and then rest.
func appendFrame(b []byte, kind frameKind, head, rest []byte) []byte {
	begin := len(b)
	b = beginFrame(b, kind)
	b = append(b, head...)
	b = append(b, rest...)
	endFrame(b[begin:])
	return b
}

// appendMessage appends a frame whose body is m.
func appendMessage(b []byte, m proto.Message) ([]byte, error) {
	begin := len(b)
	b, err := proto.MarshalOptions{}.MarshalAppend(beginFrame(b, frameMessage), m)
	if err != nil {
		return b[:begin], err
	}
	if size := len(b) - begin - headerSize; size > maxFrame {
		return b[:begin], fmt.Errorf("a message of %d bytes: the most is %d", size, maxFrame)
	}
	endFrame(b[begin:])
	return b, nil
}

// frameReader reads frames, and nothing beyond the one it was asked for.
type frameReader struct {
	r      io.Reader
	max    int // bounds a body
	header [headerSize]byte
}

// next reads a frame. The body is the caller's. io.EOF means that the other side ended
// between two frames.
func (f *frameReader) next() (frameKind, []byte, error) {
	if _, err := io.ReadFull(f.r, f.header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.LittleEndian.Uint32(f.header[4:])
	if uint64(size) > uint64(f.max) {
		return 0, nil, fmt.Errorf("a frame of %d bytes: the most is %d here", size, f.max)
	}
	body, err := readBody(f.r, int(size))
	if err != nil {
		return 0, nil, err
	}
	sum := crc32.Update(crc32.Checksum(f.header[4:], castagnoli), castagnoli, body)
	if sum != binary.LittleEndian.Uint32(f.header[:]) {
		return 0, nil, errChecksum
	}
	return frameKind(f.header[8]), body, nil
}

// readBody reads n bytes. It allocates as they arrive, not as they are announced.
func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, min(n, readStep))
	for have := 0; ; {
		m, err := io.ReadFull(r, body[have:])
		have += m
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if have == n {
			return body, nil
		}
		larger := make([]byte, min(n, 2*have))
		copy(larger, body)
		body = larger
	}
}

// The heads of questions and answers are of a fixed size: the number of the question,
// and for a question its kind and how many milliseconds the answer is waited for.
const (
	questionHead = 13
	answerHead   = 8
)

// question is a frameQuestion.
type question struct {
	id      uint64
	kind    uint8
	timeout uint32 // milliseconds
	body    []byte
}

func (q *question) head() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, questionHead), q.id)
	return binary.LittleEndian.AppendUint32(append(b, q.kind), q.timeout)
}

func decodeQuestion(b []byte) (question, error) {
	if len(b) < questionHead || len(b) > questionHead+maxQuestion {
		return question{}, fmt.Errorf("a question of %d bytes", len(b))
	}
	return question{
		id: binary.LittleEndian.Uint64(b), kind: b[8], timeout: binary.LittleEndian.Uint32(b[9:]), body: b[questionHead:],
	}, nil
}

// decodeAnswer reads the number of a frameAnswer or frameFailure, and what follows it.
func decodeAnswer(b []byte) (id uint64, rest []byte, err error) {
	if len(b) < answerHead {
		return 0, nil, fmt.Errorf("an answer of %d bytes", len(b))
	}
	return binary.LittleEndian.Uint64(b), b[answerHead:], nil
}
