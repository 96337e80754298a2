package zkoracle

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What ZooKeeper's wire is made of. The values of opcodes and errors are those of
// ZooDefs.OpCode and KeeperException.Code of ZooKeeper 3.9.

const (
	opCreate          = 1
	opDelete          = 2
	opExists          = 3
	opGetData         = 4
	opSetData         = 5
	opGetACL          = 6
	opSetACL          = 7
	opGetChildren     = 8
	opSync            = 9
	opPing            = 11
	opGetChildren2    = 12
	opCheck           = 13
	opMulti           = 14
	opCreate2         = 15
	opCheckWatches    = 17
	opRemoveWatches   = 18
	opReconfig        = 16
	opCreateContainer = 19
	opDeleteContainer = 20
	opCreateTTL       = 21
	opMultiRead       = 22
	opAuth            = 100
	opSetWatches      = 101
	opSasl            = 102
	opGetEphemerals   = 103
	opCountDescend    = 104 // getAllChildrenNumber
	opSetWatches2     = 105
	opAddWatch        = 106
	opWhoAmI          = 107
	opCloseSession    = -11
	opError           = -1
	xidEvent          = -1
	xidAuth           = -4
	xidPing           = -2
	xidSetWatches     = -8
	protocolVersion   = 0
	passwordLen       = 16
	headerLen         = 16
	maxFrame          = 64 << 20

	codeMarshalling   = -5
	codeUnimplemented = -6
	codeBadArguments  = -8
	codeAuthFailed    = -115
	codeRequireSasl   = -124

	noXid = -1 << 31 // of no reply
)

var errorNames = map[int32]string{
	0: "ok", -1: "SystemError", -2: "RuntimeInconsistency", -3: "DataInconsistency", -4: "ConnectionLoss",
	-5: "MarshallingError", -6: "Unimplemented", -7: "OperationTimeout", -8: "BadArguments", -13: "NewConfigNoQuorum", -14: "ReconfigInProgress", -12: "UnknownSession",
	-100: "APIError", -101: "NoNode", -102: "NoAuth", -103: "BadVersion", -108: "NoChildrenForEphemerals",
	-110: "NodeExists", -111: "NotEmpty", -112: "SessionExpired", -113: "InvalidCallback", -114: "InvalidACL",
	-115: "AuthFailed", -118: "SessionMoved", -119: "NotReadOnly", -120: "EphemeralOnLocalSession", -121: "NoWatcher",
	-122: "RequestTimeout", -123: "ReconfigDisabled", -124: "SessionClosedRequireSasl", -125: "QuotaExceeded", -127: "ThrottledOp",
}

func errorName(code int32) string {
	if name, ok := errorNames[code]; ok {
		return name
	}
	return fmt.Sprintf("error %d", code)
}

// Writing: append-style.

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func putInt(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

func putLong(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func putString(b []byte, s string) []byte { return append(putInt(b, int32(len(s))), s...) }

// putBuffer writes data; nil is null.
func putBuffer(b, data []byte) []byte {
	if data == nil {
		return putInt(b, -1)
	}
	return append(putInt(b, int32(len(data))), data...)
}

func putStrings(b []byte, all []string) []byte {
	b = putInt(b, int32(len(all)))
	for _, s := range all {
		b = putString(b, s)
	}
	return b
}

// frame puts the length in front of a body.
func frame(body []byte) []byte { return append(putInt(nil, int32(len(body))), body...) }

var errShort = errors.New("the reply ends too early")

// reader takes a reply apart. The first error sticks; what is read after it is
// zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.rest) {
		r.err = errShort
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) bool() bool {
	b := r.take(1)
	return len(b) == 1 && b[0] != 0
}

func (r *reader) int() int32 {
	if b := r.take(4); len(b) == 4 {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) long() int64 {
	if b := r.take(8); len(b) == 8 {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// buffer reads data; nil is null.
func (r *reader) buffer() []byte {
	n := r.int()
	if n == -1 {
		return nil
	}
	return append([]byte{}, r.take(int(n))...)
}

func (r *reader) string() string { return string(r.buffer()) }

func (r *reader) strings() []string {
	var all []string
	for n := r.int(); n > 0 && r.err == nil; n-- {
		all = append(all, r.string())
	}
	return all
}

// stat is jute's Stat.
type stat struct {
	czxid, mzxid, ctime, mtime  int64
	version, cversion, aversion int32
	owner                       int64
	dataLength, numChildren     int32
	pzxid                       int64
}

func (r *reader) stat() stat {
	return stat{
		czxid: r.long(), mzxid: r.long(), ctime: r.long(), mtime: r.long(),
		version: r.int(), cversion: r.int(), aversion: r.int(),
		owner: r.long(), dataLength: r.int(), numChildren: r.int(), pzxid: r.long(),
	}
}
