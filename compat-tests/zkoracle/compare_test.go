package zkoracle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// header is a reply's frame with a body.
func header(xid int32, zxid int64, code int32, body ...byte) frameIn {
	return frameIn{xid: xid, zxid: zxid, code: code, body: body}
}

// answers shows the replies to commands as if one had been sent after the other.
func answers(t *testing.T, s *side, command string, frames ...frameIn) string {
	t.Helper()
	words, err := tokens(command)
	require.NoError(t, err)
	q, err := s.build(words)
	require.NoError(t, err)
	c := s.conns["c"]
	if c == nil {
		c = &conn{name: "c"}
		s.conns["c"] = c
	}
	waiting := []sent{{q, 1, false}}
	names := s.learn(waiting, frames)
	text := ""
	for i, f := range frames {
		if f.xid == xidEvent {
			text += s.unasked(c, f) + "\n"
		} else {
			text += s.answer(c, waiting[0], f, names[i]) + "\n"
		}
	}
	return text
}

func encodeStat(v stat) []byte {
	b := putLong(putLong(putLong(putLong(nil, v.czxid), v.mzxid), v.ctime), v.mtime)
	b = putInt(putInt(putInt(b, v.version), v.cversion), v.aversion)
	return putLong(putInt(putInt(putLong(b, v.owner), v.dataLength), v.numChildren), v.pzxid)
}

func path(p string) []byte { return putString(nil, p) }

func TestWhatDiffersIsSeen(t *testing.T) {
	now := time.Now().UnixMilli()
	base := stat{czxid: 7, mzxid: 9, pzxid: 7, ctime: now, mtime: now + 5, version: 1, dataLength: 3}
	// show makes a znode in zxid 7, changes it in 9 (8 is lost to something that failed),
	// and shows its Stat.
	show := func(change func(v *stat), code int32, zxid int64, rest ...byte) string {
		s := newSide(nil, "")
		s.sessions["s1"] = session{id: 77}
		answers(t, s, "create /a", header(1, 7, 0, path("/a")...))
		answers(t, s, "delete /nosuch", header(1, 8, -101))
		v := base
		answers(t, s, "setData /a", header(1, 9, 0, encodeStat(stat{czxid: 7, mzxid: 9, pzxid: 7, ctime: now, mtime: now + 5, version: 1})...))
		change(&v)
		return answers(t, s, "exists /a", header(1, zxid, code, append(encodeStat(v), rest...)...))
	}
	want := show(func(*stat) {}, 0, 9)
	require.Equal(t, "{czxid z1, mzxid z2, pzxid z1, version 1, length 3} z2\n", want)
	require.Equal(t, want, show(func(*stat) {}, 0, 12), "zxids that nothing is told of do not count")
	for name, change := range map[string]func(v *stat){
		"czxid":    func(v *stat) { v.czxid = 9 },
		"mzxid":    func(v *stat) { v.mzxid = 8 },
		"pzxid":    func(v *stat) { v.pzxid = 9 },
		"ctime":    func(v *stat) { v.ctime++ },
		"mtime":    func(v *stat) { v.mtime = now },
		"no time":  func(v *stat) { v.ctime, v.mtime = 0, 0 },
		"version":  func(v *stat) { v.version = 0 },
		"cversion": func(v *stat) { v.cversion = 1 },
		"aversion": func(v *stat) { v.aversion = -1 },
		"owner":    func(v *stat) { v.owner = 77 },
		"another":  func(v *stat) { v.owner = 78 },
		"length":   func(v *stat) { v.dataLength = 0 },
		"children": func(v *stat) { v.numChildren = 1 },
	} {
		require.NotEqual(t, want, show(change, 0, 9), name)
	}
	require.NotEqual(t, want, show(func(*stat) {}, -101, 9), "an error")
	require.NotEqual(t, want, show(func(*stat) {}, 0, 9, 0), "a byte too many")
	require.Contains(t, show(func(*stat) {}, 0, 7), "BACK FROM z2 TO z1")
	require.Contains(t, show(func(*stat) {}, -101, 9), "AND 68 BYTES MORE", "an error has no body")
}

func TestZxidsOfWrites(t *testing.T) {
	s := newSide(nil, "")
	require.Equal(t, "/a z1\n", answers(t, s, "create /a", header(1, 5, 0, path("/a")...)))
	require.Equal(t, "/b z2\n", answers(t, s, "create /b", header(1, 6, 0, path("/b")...)))
	require.Equal(t, "/c z3 (2 AFTER THE LAST)\n", answers(t, s, "create /c", header(1, 8, 0, path("/c")...)))
	require.Equal(t, "NodeExists z3\n", answers(t, s, "create /c", header(1, 9, -110)))
	require.Equal(t, "/d z4\n", answers(t, s, "create /d", header(1, 12, 0, path("/d")...)))
	require.Equal(t, "ok z5 (NOT NEW: as z4)\n", answers(t, s, "delete /d", header(1, 12, 0)))
	event := func(zxid int64, kind int32) frameIn {
		return header(xidEvent, zxid, 0, putString(putInt(putInt(nil, kind), syncConnected), "/a")...)
	}
	require.Equal(t, "c: Deleted /a z4.1\nok z4.1\n", answers(t, s, "close", event(14, 2), header(1, 14, 0)))
	require.Equal(t, "c: DataChanged /a -1\nok z4.1\n", answers(t, s, "setWatches z4", event(-1, 3), header(1, 14, 0)))
	require.Equal(t, "ok\n", answers(t, s, "ping", header(1, 14, 0)), "it shows nothing")
}

func TestEventsOfAPipelineComeAtTheirReply(t *testing.T) {
	s := newSide(nil, "")
	order := func(frames ...frameIn) (xids []int32) {
		var waiting []sent
		for _, line := range []string{"delete /a", "delete /b", "ping", "delete /c"} {
			words, err := tokens(line)
			require.NoError(t, err)
			q, err := s.build(words)
			require.NoError(t, err)
			waiting = append(waiting, sent{request: q})
		}
		delayEvents(waiting, frames)
		for _, f := range frames {
			xids = append(xids, f.xid)
		}
		return xids
	}
	early := order(header(xidEvent, 3, 0), header(1, 1, 0), header(2, 2, -101), header(xidPing, 3, 0), header(4, 3, 0))
	require.Equal(t, []int32{1, 2, xidPing, xidEvent, 4}, early)
	late := order(header(1, 1, 0), header(2, 2, -101), header(xidPing, 2, 0), header(4, 3, 0), header(xidEvent, 3, 0))
	require.Equal(t, []int32{1, 2, xidPing, 4, xidEvent}, late, "one that is late stays late")
	replay := order(header(xidEvent, -1, 0), header(1, 1, 0))
	require.Equal(t, []int32{xidEvent, 1}, replay)
}

func TestAnAllowanceCoversNoMore(t *testing.T) {
	closed := []string{"Unimplemented", "s1: closed"}
	require.NotNil(t, allowed("s1 deleteContainer /a", []string{"ok z2"}, closed))
	require.NotNil(t, allowed("s1 op 20", []string{"MarshallingError"}, closed))
	require.Nil(t, allowed("s1 getACL /a", []string{"{} z2"}, closed))
	require.Nil(t, allowed("s1 deleteContainer /a", []string{"ok z2"}, []string{"ok z2"}))
	require.Nil(t, allowed("s1 op 3 00", []string{"{} z2"}, closed))
	for _, a := range allowances {
		require.NotEmpty(t, a.why)
	}
}

func TestCommandsAreRead(t *testing.T) {
	words, err := tokens(`c multi create "/a b" "x" eph ; delete ";" 3 acl="q"`)
	require.NoError(t, err)
	require.Equal(t, []token{
		{"c", false}, {"multi", false}, {"create", false}, {"/a b", true}, {"x", true}, {"eph", false}, {";", false},
		{"delete", false}, {";", true}, {"3", false}, {"acl=q", false},
	}, words)
	require.Len(t, split(words, ";"), 2)
	_, err = tokens(`c create "/a`)
	require.Error(t, err)
	s := newSide(nil, "")
	for _, line := range []string{"create", "create /a nonsense", "nonsense", "setWatches z9", "create /a acl=nosuch", "op x", "delete /a x"} {
		words, err := tokens(line)
		require.NoError(t, err)
		_, err = s.build(words)
		require.Error(t, err, line)
	}
	a := &args{rest: []token{{text: "2*00ff"}, {text: "01"}}}
	require.Equal(t, []byte{0, 255, 0, 255, 1}, a.hex())
}

func TestTheEndsOfASessionHaveNoOrder(t *testing.T) {
	lines := []string{"w: Deleted /b z1", "w: Deleted /a z1", "v: Deleted /c z1", "w: Deleted /c z2", "w: Deleted /a z1", "ok z1"}
	sortEnds(lines)
	require.Equal(t, []string{"w: Deleted /a z1", "w: Deleted /b z1", "v: Deleted /c z1", "w: Deleted /c z2", "w: Deleted /a z1", "ok z1"}, lines)
}

func TestACLsAreRead(t *testing.T) {
	for text, want := range map[string][]aclEntry{
		"open":                   {{31, "world", "anyone"}},
		"u|read":                 {{31, "digest", digestU}, {1, "world", "anyone"}},
		"cdrwa:ip:::1|0:x509:CN": {{31, "ip", "::1"}, {0, "x509", "CN"}},
		"-1:digest:a:b:c":        {{-1, "digest", "a:b:c"}},
		"rw::":                   {{3, "", ""}},
		"empty":                  nil,
	} {
		got, err := parseACL(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "nosuch", "x:world:anyone", "r:world", "open|"} {
		_, err := parseACL(text)
		require.Error(t, err, text)
	}
}

func TestWhatEndsAConnectionIsWaitedFor(t *testing.T) {
	for _, test := range []struct {
		op, code int32
		ends     bool
	}{
		{99, codeUnimplemented, true},
		{opCheck, codeUnimplemented, true},
		{opCreateTTL, codeUnimplemented, false},
		{opReconfig, codeUnimplemented, false},
		{opAuth, codeAuthFailed, true},
		{opSasl, codeAuthFailed, true},
		{opPing, codeRequireSasl, true},
		{opGetData, codeMarshalling, false},
		{opAuth, 0, false},
	} {
		require.Equal(t, test.ends, endsConnection(request{op: test.op}, test.code), test)
	}
}

func TestDigestsOfAnACLHaveNoOrder(t *testing.T) {
	shown := func(text string) string {
		body, err := putACL(nil, text)
		require.NoError(t, err)
		return showACL(newSide(nil, ""), &reader{rest: append(body, encodeStat(stat{})...)})
	}
	require.Equal(t, shown("r:digest:a:x|r:digest:b:x"), shown("r:digest:b:x|r:digest:a:x"))
	for _, other := range []string{
		"r:digest:b:x|w:digest:a:x", "r:digest:b:x|r:world:anyone|r:digest:a:x", "r:ip:1.1.1.1|r:digest:a:x|r:digest:b:x",
		"r:digest:a:x|r:digest:b:x|r:ip:1.1.1.1", "r:digest:b:x|r:ip:1.1.1.1|r:digest:a:x",
	} {
		want, err := parseACL(other)
		require.NoError(t, err)
		text := shown(other)
		for _, e := range want {
			require.Contains(t, text, e.scheme+":"+e.id)
		}
		require.NotEqual(t, shown("r:digest:a:x|r:digest:b:x"), text, other)
	}
	require.NotEqual(t, shown("w:digest:a:x|r:digest:b:x"), shown("r:digest:b:x|w:digest:a:x"))
	require.NotEqual(t, shown("r:ip:b|r:ip:a"), shown("r:ip:a|r:ip:b"), "only digests")
}
