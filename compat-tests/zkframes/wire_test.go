package zkframes

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The numbers of the requests that are sent here.
const (
	opCreate = 1 + iota
	opDelete
	opExists
	opGetData
	opSetData
	opGetACL
	opSetACL
	opGetChildren
	opSync
	_
	opPing
	opGetChildren2
	opCheck
	opMulti
	opCreate2
	opReconfig
	opCheckWatches
	opRemoveWatches
	opCreateContainer
	_
	opCreateTTL
	opMultiRead

	opAuth                 = 100
	opSetWatches           = 101
	opSasl                 = 102
	opGetEphemerals        = 103
	opGetAllChildrenNumber = 104
	opSetWatches2          = 105
	opAddWatch             = 106
	opWhoAmI               = 107
	opCloseSession         = -11
)

func i32(v int32) string { return string(binary.BigEndian.AppendUint32(nil, uint32(v))) }
func i64(v int64) string { return string(binary.BigEndian.AppendUint64(nil, uint64(v))) }

// str is a string, a buffer or a frame of its own.
func str(s string) string { return i32(int32(len(s))) + s }

const null = "\xff\xff\xff\xff"

var openACL = i32(1) + i32(31) + str("world") + str("anyone")

// deadline bounds a whole conversation; a server that says nothing is an answer too.
const deadline = 10 * time.Second

func dial(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	require.NoError(t, err)
	require.NoError(t, nc.SetDeadline(time.Now().Add(deadline)))
	return nc, bufio.NewReader(nc)
}

func read(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, min(binary.BigEndian.Uint32(length[:]), 1<<24))
	_, err := io.ReadFull(r, b)
	return b, err
}

// ended says how a connection ended.
func ended(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "silent"
	}
	return "closed"
}

var ping = str(i32(-2) + i32(opPing))

// alive sends a ping, and another one once it is answered: what was queued behind
// the end of a connection may still be sent.
func alive(nc net.Conn, r *bufio.Reader, see func(reply []byte)) string {
	for pongs := 0; pongs < 2; {
		if _, err := io.WriteString(nc, ping); err != nil {
			return ended(err)
		}
		for {
			b, err := read(r)
			if err != nil {
				return ended(err)
			}
			if bytes.HasPrefix(b, []byte(i32(-2))) {
				pongs++
				break
			}
			see(b)
		}
	}
	return "alive"
}

// ask sends a request in a session of its own and says what came back: replies
// without what differs from server to server, zxids and times, and whether the
// connection lives on.
func ask(t *testing.T, address string, op int32, body string) string {
	nc, r := dial(t, address)
	defer func() { _ = nc.Close() }()
	handshake := i32(0) + i64(0) + i32(10_000) + i64(0) + str(strings.Repeat("\x00", 16)) + "\x00"
	_, err := io.WriteString(nc, str(handshake))
	require.NoError(t, err)
	_, err = read(r) // first: a server that closes need not have sent it
	require.NoError(t, err)
	_, err = io.WriteString(nc, str(i32(7)+i32(op)+body))
	require.NoError(t, err)
	var out []string
	end := alive(nc, r, func(reply []byte) {
		xid, code := int32(binary.BigEndian.Uint32(reply)), int32(binary.BigEndian.Uint32(reply[12:]))
		out = append(out, fmt.Sprintf("xid %d: %d%s", xid, code, describe(op, reply[16:])))
	})
	return strings.Join(append(out, end), ", ")
}

// describe is what of a body must be the same on every server.
func describe(op int32, body []byte) string {
	switch op {
	case opCreate, opSync, opMulti:
		return fmt.Sprintf(" %q", stable(op, body))
	}
	return fmt.Sprintf(" and %d bytes", len(body))
}

// stable cuts off the stats in the results of a multi: their zxids and times.
func stable(op int32, body []byte) []byte {
	const statSize = 68
	if op != opMulti || len(body) < statSize+9 {
		return body
	}
	cut := len(body) - 9 - statSize // the one result of those that have a stat
	return append(bytes.Clone(body[:cut]), body[len(body)-9:]...)
}

// shake sends the first bytes of a connection and says what came back.
func shake(t *testing.T, address, first string) string {
	nc, r := dial(t, address)
	defer func() { _ = nc.Close() }()
	_, err := io.WriteString(nc, first)
	require.NoError(t, err)
	b, err := read(r)
	if err != nil {
		return ended(err)
	}
	session := "a session"
	if binary.BigEndian.Uint64(b[8:]) == 0 {
		session = "no session"
	}
	version, timeout := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return fmt.Sprintf("%d bytes: version %d, %d ms, %s, password of %d, rest %x; %s",
		len(b), version, timeout, session, binary.BigEndian.Uint32(b[16:]), b[min(36, len(b)):],
		alive(nc, r, func([]byte) {}))
}
