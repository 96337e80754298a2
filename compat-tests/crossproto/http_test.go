package crossproto

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// gateway speaks etcd's JSON, as curl does: bytes in base64, 64-bit numbers as
// strings, what is zero left out.
type gateway struct {
	t   *testing.T
	url string
}

type object = map[string]any

func text(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// call posts a request and returns the answer, which must not be an error.
func (g *gateway) call(path string, request object) object {
	g.t.Helper()
	answer, err := g.try(path, request)
	require.NoError(g.t, err)
	return answer
}

// try is call for goroutines that must not end the test.
func (g *gateway) try(path string, request object) (object, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	response, err := http.Post(g.url+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, &httpError{response.StatusCode, string(answer)}
	}
	var out object
	return out, json.Unmarshal(answer, &out)
}

type httpError struct {
	status int
	body   string
}

func (e *httpError) Error() string { return strconv.Itoa(e.status) + ": " + e.body }

func (g *gateway) put(path, value string) int64 {
	g.t.Helper()
	return number(revisionOf(g.call("/v3/kv/put", object{"key": text(key(path)), "value": text(value)})))
}

// get reads one key; nil if there is none.
func (g *gateway) get(path string) object {
	g.t.Helper()
	kvs, _ := g.call("/v3/kv/range", object{"key": text(key(path))})["kvs"].([]any)
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0].(object)
}

// count counts the keys below a path.
func (g *gateway) count(path string) int64 {
	g.t.Helper()
	return number(g.call("/v3/kv/range", object{
		"key": text(key(path + "/")), "range_end": text(key(path + "0")), "count_only": true,
	})["count"])
}

func revisionOf(answer object) any { return answer["header"].(object)["revision"] }

// number reads a 64-bit number; what is left out is zero.
func number(v any) int64 {
	s, _ := v.(string)
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// bytesOf reads bytes.
func bytesOf(v any) string {
	s, _ := v.(string)
	b, _ := base64.StdEncoding.DecodeString(s)
	return string(b)
}
