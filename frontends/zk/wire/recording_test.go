package wire_test

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// TestRecording decodes what a stock ZooKeeper client and server said to each
// other, shows it, and encodes it again to the very same bytes. testdata/Record.java
// made the recording. The commands:
//
//	open      a connection begins
//	request   a frame of the client's: the first is the handshake
//	reply     a frame of the server's: likewise
func TestRecording(t *testing.T) {
	var c conversation
	seen := map[wire.OpCode]bool{}
	datadriven.RunTest(t, "testdata/recording", func(t *testing.T, d *datadriven.TestData) string {
		frame, err := hex.DecodeString(strings.Join(strings.Fields(d.Input), ""))
		require.NoError(t, err)
		switch d.Cmd {
		case "open":
			c = conversation{ops: map[int32]wire.OpCode{}}
			return ""
		case "request":
			return c.request(t, frame, seen)
		case "reply":
			return c.reply(t, frame)
		}
		d.Fatalf(t, "unknown command %q", d.Cmd)
		return ""
	})
	for op := range exchanges {
		if op != wire.OpCheck && op != wire.OpReconfig && op != wire.OpSASL && op != wire.OpSetWatches {
			require.True(t, seen[op], "%v is not in the recording", op)
		}
	}
}

// conversation is what has to be known of a connection to read its frames.
type conversation struct {
	requests, replies int
	// ops has the operation of each xid that was asked for.
	ops map[int32]wire.OpCode
}

func (c *conversation) request(t *testing.T, frame []byte, seen map[wire.OpCode]bool) string {
	c.requests++
	if c.requests == 1 {
		return show(t, frame, "connect", &wire.ConnectRequest{})
	}
	var h wire.RequestHeader
	r := jute.NewReader(frame)
	h.Decode(&r)
	c.ops[h.Xid] = h.Op
	seen[h.Op] = true
	body := []message{&h}
	if e := exchanges[h.Op]; e.request != nil {
		body = append(body, e.request())
	}
	return show(t, frame, h.Op.String(), body...)
}

func (c *conversation) reply(t *testing.T, frame []byte) string {
	c.replies++
	if c.replies == 1 {
		return show(t, frame, "connected", &wire.ConnectResponse{})
	}
	var h wire.ReplyHeader
	r := jute.NewReader(frame)
	h.Decode(&r)
	if h.Xid == wire.XidEvent {
		return show(t, frame, "event", &h, &wire.WatcherEvent{})
	}
	op, asked := c.ops[h.Xid]
	require.True(t, asked, "a reply to %d, which was not asked", h.Xid)
	body := []message{&h}
	if e := exchanges[op]; e.response != nil && len(r.Rest()) > 0 {
		body = append(body, e.response())
	}
	return show(t, frame, op.String(), body...)
}

// show decodes a frame that consists of messages and requires that they encode to
// the same again.
func show(t *testing.T, frame []byte, name string, messages ...message) string {
	r := jute.NewReader(frame)
	var again []byte
	out := name
	for _, m := range messages {
		m.Decode(&r)
		if r.Err() != nil {
			return fmt.Sprintf("%s: %v", out, r.Err())
		}
		again = m.Append(again)
		out += "\n  " + describe(reflect.ValueOf(m).Elem())
	}
	require.Equal(t, frame, again, name)
	return out
}

// describe is a message for the reader of a transcript, without what is zero, false
// or null.
func describe(v reflect.Value) string {
	if named, ok := v.Interface().(fmt.Stringer); ok {
		return named.String()
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return strconv.Quote(string(v.Bytes()))
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = describe(v.Index(i))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				parts = append(parts, v.Type().Field(i).Name+":"+describe(v.Field(i)))
			}
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return fmt.Sprint(v.Interface())
}
