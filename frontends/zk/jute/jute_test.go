package jute_test

import (
	_ "embed"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/frontends/zk/jute"
)

func TestEncoding(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"int":              {jute.AppendInt32(nil, -2), "fffffffe"},
		"long":             {jute.AppendInt64(nil, 0x0102030405060708), "0102030405060708"},
		"true":             {jute.AppendBool(nil, true), "01"},
		"false":            {jute.AppendBool(nil, false), "00"},
		"ustring":          {jute.AppendUstring(nil, "/ä"), "00000003" + "2fc3a4"},
		"empty ustring":    {jute.AppendUstring(nil, ""), "00000000"},
		"buffer":           {jute.AppendBuffer(nil, []byte{1, 2}), "00000002" + "0102"},
		"empty buffer":     {jute.AppendBuffer(nil, []byte{}), "00000000"},
		"null buffer":      {jute.AppendBuffer(nil, nil), "ffffffff"},
		"vector":           {jute.AppendUstrings(nil, []string{"a", ""}), "00000002" + "0000000161" + "00000000"},
		"empty vector":     {jute.AppendUstrings(nil, []string{}), "00000000"},
		"null vector":      {jute.AppendUstrings(nil, nil), "ffffffff"},
		"behind something": {jute.AppendInt32([]byte{7}, 1), "0700000001"},
	} {
		require.Equal(t, c.want, hex.EncodeToString(c.got), name)
	}
}

func TestFrame(t *testing.T) {
	b := []byte("before")
	start := len(b)
	b = jute.OpenFrame(b)
	b = append(b, "body"...)
	jute.CloseFrame(b, start)
	require.Equal(t, "before\x00\x00\x00\x04body", string(b))
}

func TestReaderErrors(t *testing.T) {
	short, length, null := jute.ErrShort, jute.ErrLength, jute.ErrNull
	for name, c := range map[string]struct {
		message string
		read    func(*jute.Reader) any
		value   any
		err     error
	}{
		"int cut short":              {"000000", func(r *jute.Reader) any { return r.Int32() }, int32(0), short},
		"long cut short":             {"00000000000000", func(r *jute.Reader) any { return r.Int64() }, int64(0), short},
		"no bool":                    {"", func(r *jute.Reader) any { return r.Bool() }, false, short},
		"any byte is true":           {"40", func(r *jute.Reader) any { return r.Bool() }, true, nil},
		"buffer's length cut short":  {"0000", func(r *jute.Reader) any { return r.Buffer() }, []byte(nil), short},
		"buffer longer than message": {"0000000300ff", func(r *jute.Reader) any { return r.Buffer() }, []byte(nil), length},
		"largest length":             {"7fffffff00ff", func(r *jute.Reader) any { return r.Buffer() }, []byte(nil), length},
		"negative length":            {"fffffffe", func(r *jute.Reader) any { return r.Buffer() }, []byte(nil), length},
		"smallest length":            {"80000000", func(r *jute.Reader) any { return r.Ustring() }, "", length},
		"null buffer":                {"ffffffff", func(r *jute.Reader) any { return r.Buffer() }, []byte(nil), nil},
		"empty buffer":               {"00000000", func(r *jute.Reader) any { return r.Buffer() }, []byte{}, nil},
		"null ustring":               {"ffffffff", func(r *jute.Reader) any { return r.Ustring() }, "", nil},
		"refused null":               {"ffffffff", func(r *jute.Reader) any { return r.NonNull() }, "", null},
		"empty is not null":          {"00000000", func(r *jute.Reader) any { return r.NonNull() }, "", nil},
		"null vector":                {"ffffffff", func(r *jute.Reader) any { return r.Ustrings() }, []string(nil), nil},
		"empty vector":               {"00000000", func(r *jute.Reader) any { return r.Ustrings() }, []string{}, nil},
		"negative count is empty":    {"80000000", func(r *jute.Reader) any { return r.Ustrings() }, []string{}, nil},
		"more elements than bytes":   {"00000003" + "0000000000000000", func(r *jute.Reader) any { return r.Ustrings() }, []string(nil), length},
		"vector cut short":           {"00000002" + "00000004" + "61626364", func(r *jute.Reader) any { return r.Ustrings() }, []string(nil), short},
		"skip":                       {"0102", func(r *jute.Reader) any { r.Skip(1); return r.Bool() }, true, nil},
		"skip too far":               {"0102", func(r *jute.Reader) any { r.Skip(3); return nil }, nil, short},
	} {
		message, err := hex.DecodeString(c.message)
		require.NoError(t, err, name)
		r := jute.NewReader(message)
		require.Equal(t, c.value, c.read(&r), name)
		require.ErrorIs(t, r.Err(), c.err, name)
		if c.err != nil {
			require.Zero(t, r.Int64(), "%s: what is read after an error", name)
			require.Nil(t, r.Rest(), name)
			require.ErrorIs(t, r.Err(), c.err, "%s: the first error sticks", name)
		}
	}
}

func TestBuffersAliasAndCannotGrow(t *testing.T) {
	message := []byte{0, 0, 0, 1, 'a', 'b'}
	r := jute.NewReader(message)
	b := r.Buffer()
	require.Same(t, &message[4], &b[0])
	_ = append(b, 'x')
	require.Equal(t, "b", string(r.Rest()), "what follows the buffer is not overwritten")
}

func TestLyingCountsAllocateNothing(t *testing.T) {
	message := jute.AppendCount(nil, 1<<30)
	message = append(message, make([]byte, 64)...)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r := jute.NewReader(message)
		_ = r.Ustrings()
		r = jute.NewReader(message)
		_ = r.Ustring()
	}))
}

//go:embed testdata/utf8.txt
var javaStrings string

func TestStringsAreDecodedAsJavaDoes(t *testing.T) {
	cases := 0
	for line := range strings.Lines(javaStrings) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		in, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(in)
		require.NoError(t, err)
		r := jute.NewReader(jute.AppendBuffer(nil, b))
		require.Equal(t, want, hex.EncodeToString([]byte(r.Ustring())), in)
		cases++
	}
	require.Greater(t, cases, 400)
}

// TestRoundTrip writes values of all types in any order and reads them back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.OneOf(
			rapid.Int32().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.String().AsAny(),
			rapid.SliceOf(rapid.Byte()).AsAny(), rapid.SliceOf(rapid.String()).AsAny(),
			rapid.Just([]byte(nil)).AsAny(), rapid.Just([]string(nil)).AsAny(),
		)).Draw(t, "values")

		var b []byte
		for _, v := range values {
			b = appendAny(b, v)
		}
		r := jute.NewReader(b)
		for _, v := range values {
			require.Equal(t, v, readLike(&r, v))
		}
		require.NoError(t, r.Err())
		require.Empty(t, r.Rest())
	})
}

func appendAny(b []byte, v any) []byte {
	switch v := v.(type) {
	case int32:
		return jute.AppendInt32(b, v)
	case int64:
		return jute.AppendInt64(b, v)
	case bool:
		return jute.AppendBool(b, v)
	case string:
		return jute.AppendUstring(b, v)
	case []byte:
		return jute.AppendBuffer(b, v)
	default:
		return jute.AppendUstrings(b, v.([]string))
	}
}

func readLike(r *jute.Reader, v any) any {
	switch v.(type) {
	case int32:
		return r.Int32()
	case int64:
		return r.Int64()
	case bool:
		return r.Bool()
	case string:
		return r.Ustring()
	case []byte:
		return r.Buffer()
	default:
		return r.Ustrings()
	}
}

// FuzzUstring: whatever the bytes, the string is valid UTF-8 and no longer than
// one U+FFFD for each of them.
func FuzzUstring(f *testing.F) {
	f.Add([]byte("/zk"))
	f.Add([]byte("\xed\xa0\x80\xf4\x90"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := jute.NewReader(jute.AppendBuffer(nil, b))
		s := r.Ustring()
		require.NoError(t, r.Err())
		require.Equal(t, strings.ToValidUTF8(s, ""), s)
		require.LessOrEqual(t, len(s), 3*len(b))
	})
}

// Strings that alias the message are the same strings.
func TestAlias(t *testing.T) {
	for _, s := range []string{"", "/a", "/é", "/\xff\xc3", "/\xed\xa0\x80"} {
		message := jute.AppendUstring(jute.AppendUstring(nil, s), s)
		plain, alias := jute.NewReader(message), jute.NewReader(message)
		alias.Alias()
		want, got := plain.Ustring(), alias.Ustring()
		require.Equal(t, want, got)
		require.Equal(t, plain.NonNull(), alias.NonNull())
		require.NoError(t, alias.Err())
	}
	message := jute.AppendUstring(nil, "/a")
	r := jute.NewReader(message)
	r.Alias()
	path := r.Ustring()
	message[len(message)-1] = 'b'
	require.Equal(t, "/b", path) // it costs no copy
}
