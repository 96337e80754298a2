package wire_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// layouts has the fields of ZooKeeper's records, in order, as the classes that are
// generated from its zookeeper.jute have them (org.apache.zookeeper:zookeeper-jute
// 3.9.4). Multis, which are no records, are below.
const layouts = `
Id: ustring scheme, ustring id
ACL: int perms, Id id
Stat: long czxid, long mzxid, long ctime, long mtime, int version, int cversion, int aversion, long ephemeralOwner, int dataLength, int numChildren, long pzxid
ClientInfo: ustring authScheme, ustring user
ConnectRequest: int protocolVersion, long lastZxidSeen, int timeOut, long sessionId, buffer passwd, boolean readOnly
ConnectResponse: int protocolVersion, int timeOut, long sessionId, buffer passwd, boolean readOnly
SetWatches: long relativeZxid, vector<ustring> dataWatches, vector<ustring> existWatches, vector<ustring> childWatches
SetWatches2: long relativeZxid, vector<ustring> dataWatches, vector<ustring> existWatches, vector<ustring> childWatches, vector<ustring> persistentWatches, vector<ustring> persistentRecursiveWatches
RequestHeader: int xid, int type
MultiHeader: int type, boolean done, int err
AuthPacket: int type, ustring scheme, buffer auth
ReplyHeader: int xid, long zxid, int err
GetDataRequest: ustring path, boolean watch
SetDataRequest: ustring path, buffer data, int version
ReconfigRequest: ustring joiningServers, ustring leavingServers, ustring newMembers, long curConfigId
SetDataResponse: Stat stat
GetSASLRequest: buffer token
SetSASLResponse: buffer token
CreateRequest: ustring path, buffer data, vector<ACL> acl, int flags
CreateTTLRequest: ustring path, buffer data, vector<ACL> acl, int flags, long ttl
DeleteRequest: ustring path, int version
GetChildrenRequest: ustring path, boolean watch
GetAllChildrenNumberRequest: ustring path
GetChildren2Request: ustring path, boolean watch
CheckVersionRequest: ustring path, int version
SyncRequest: ustring path
SyncResponse: ustring path
GetACLRequest: ustring path
SetACLRequest: ustring path, vector<ACL> acl, int version
SetACLResponse: Stat stat
AddWatchRequest: ustring path, int mode
WatcherEvent: int type, int state, ustring path
ErrorResponse: int err
CreateResponse: ustring path
Create2Response: ustring path, Stat stat
ExistsRequest: ustring path, boolean watch
ExistsResponse: Stat stat
GetDataResponse: buffer data, Stat stat
GetChildrenResponse: vector<ustring> children
GetAllChildrenNumberResponse: int totalNumber
GetChildren2Response: vector<ustring> children, Stat stat
GetACLResponse: vector<ACL> acl, Stat stat
CheckWatchesRequest: ustring path, int type
RemoveWatchesRequest: ustring path, int type
GetEphemeralsRequest: ustring prefixPath
GetEphemeralsResponse: vector<ustring> ephemerals
WhoAmIResponse: vector<ClientInfo> clientInfo
`

// records has our type of each record that has one of its own.
var records = map[string]func() message{
	"Stat": of[wire.Stat], "ConnectRequest": of[wire.ConnectRequest], "ConnectResponse": of[wire.ConnectResponse],
	"SetWatches": of[wire.SetWatches], "SetWatches2": of[wire.SetWatches2],
	"RequestHeader": of[wire.RequestHeader], "MultiHeader": of[wire.MultiHeader],
	"AuthPacket": of[wire.AuthPacket], "ReplyHeader": of[wire.ReplyHeader],
	"GetDataRequest": of[wire.GetDataRequest], "SetDataRequest": of[wire.SetDataRequest],
	"ReconfigRequest": of[wire.ReconfigRequest], "SetDataResponse": of[wire.SetDataResponse],
	"GetSASLRequest": of[wire.SASLMessage], "SetSASLResponse": of[wire.SASLMessage],
	"CreateRequest": of[wire.CreateRequest], "CreateTTLRequest": of[wire.CreateTTLRequest],
	"DeleteRequest": of[wire.DeleteRequest], "GetChildrenRequest": of[wire.GetChildrenRequest],
	"GetAllChildrenNumberRequest": of[wire.GetAllChildrenNumberRequest],
	"GetChildren2Request":         of[wire.GetChildren2Request], "CheckVersionRequest": of[wire.CheckVersionRequest],
	"SyncRequest": of[wire.SyncRequest], "SyncResponse": of[wire.SyncResponse],
	"GetACLRequest": of[wire.GetACLRequest], "SetACLRequest": of[wire.SetACLRequest],
	"SetACLResponse": of[wire.SetACLResponse], "AddWatchRequest": of[wire.AddWatchRequest],
	"WatcherEvent": of[wire.WatcherEvent], "ErrorResponse": of[wire.ErrorResponse],
	"CreateResponse": of[wire.CreateResponse], "Create2Response": of[wire.Create2Response],
	"ExistsRequest": of[wire.ExistsRequest], "ExistsResponse": of[wire.ExistsResponse],
	"GetDataResponse": of[wire.GetDataResponse], "GetChildrenResponse": of[wire.GetChildrenResponse],
	"GetAllChildrenNumberResponse": of[wire.GetAllChildrenNumberResponse],
	"GetChildren2Response":         of[wire.GetChildren2Response], "GetACLResponse": of[wire.GetACLResponse],
	"CheckWatchesRequest": of[wire.CheckWatchesRequest], "RemoveWatchesRequest": of[wire.RemoveWatchesRequest],
	"GetEphemeralsRequest": of[wire.GetEphemeralsRequest], "GetEphemeralsResponse": of[wire.GetEphemeralsResponse],
	"WhoAmIResponse": of[wire.WhoAmIResponse],
}

// partOfOthers are the records that are read and written only within others.
var partOfOthers = map[string]bool{"Id": true, "ACL": true, "ClientInfo": true}

// renamed are the fields that we call by another name.
var renamed = map[string]string{"passwd": "Password", "type": "Op", "authScheme": "Scheme"}

type field struct{ typ, name string }

func parseLayouts() map[string][]field {
	parsed := map[string][]field{}
	for line := range strings.Lines(strings.TrimSpace(layouts)) {
		record, list, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for f := range strings.SplitSeq(list, ", ") {
			typ, name, _ := strings.Cut(f, " ")
			parsed[record] = append(parsed[record], field{typ, name})
		}
	}
	return parsed
}

// TestLayouts writes each message by the layout of ZooKeeper's record, reads it,
// and writes it again.
func TestLayouts(t *testing.T) {
	layout := parseLayouts()
	for record := range layout {
		require.True(t, partOfOthers[record] != (records[record] != nil), record)
	}
	rapid.Check(t, func(t *rapid.T) {
		for record, makeOne := range records {
			m := makeOne()
			v := reflect.ValueOf(m).Elem()
			fill(t, v)
			if has := v.FieldByName("HasReadOnly"); has.IsValid() {
				has.SetBool(true)
			}
			want := encode(layout, nil, record, v)
			require.Equal(t, want, m.Append(nil), record)

			again := makeOne()
			r := jute.NewReader(want)
			again.Decode(&r)
			require.NoError(t, r.Err(), record)
			require.Empty(t, r.Rest(), record)
			require.Equal(t, m, again, record)
		}
	})
}

// encode appends v as a value of the jute type.
func encode(layout map[string][]field, dst []byte, typ string, v reflect.Value) []byte {
	if element, ok := strings.CutPrefix(typ, "vector<"); ok {
		if v.IsNil() {
			return jute.AppendNull(dst)
		}
		dst = jute.AppendCount(dst, v.Len())
		for i := range v.Len() {
			dst = encode(layout, dst, strings.TrimSuffix(element, ">"), v.Index(i))
		}
		return dst
	}
	switch typ {
	case "int":
		return jute.AppendInt32(dst, int32(v.Int()))
	case "long":
		return jute.AppendInt64(dst, v.Int())
	case "boolean":
		return jute.AppendBool(dst, v.Bool())
	case "ustring":
		return jute.AppendUstring(dst, v.String())
	case "buffer":
		return jute.AppendBuffer(dst, v.Bytes())
	}
	for _, f := range layout[typ] {
		if f.typ == "Id" { // its fields are ACL's own
			dst = encode(layout, dst, f.typ, v)
			continue
		}
		dst = encode(layout, dst, f.typ, lookUp(v, f.name))
	}
	return dst
}

func lookUp(v reflect.Value, name string) reflect.Value {
	named := func(want string) reflect.Value {
		return v.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, want) })
	}
	if f := named(name); f.IsValid() {
		return f
	}
	return named(renamed[name])
}

// fill gives v any value. A vector of strings is never null: some must not be.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32().Draw(t, "int")))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "long"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "boolean"))
	case reflect.String:
		v.SetString(rapid.StringN(0, 6, -1).Draw(t, "ustring"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, "byte")))
	case reflect.Slice:
		null := 0
		if v.Type().Elem().Kind() != reflect.String {
			null = -1
		}
		n := rapid.IntRange(null, 3).Draw(t, "length")
		if n < 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	}
}
