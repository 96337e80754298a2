package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

const (
	snapshotKeys = 8
	snapshotBlob = 32 << 10 // etcd's
)

// TestSnapshot has a backup sent by the gateway: lines of etcd's shape, each flushed,
// whose blobs are a file that etcdutl takes.
func TestSnapshot(t *testing.T) {
	etcdutl, err := server.Binary("etcdutl")
	require.NoError(t, err)
	shapes := make(map[server.Target]string)
	for _, target := range []server.Target{server.Etcd, server.Triglot} {
		p := server.StartT(t, server.Options{Target: target, EtcdMode: true})
		s := newSession(p.URL(), 10*time.Second)
		defer s.close()
		value := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("v"), 100_000))
		for i := range snapshotKeys {
			key := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "key%d", i))
			a, err := s.fetch(request{method: http.MethodPost, path: "/v3/kv/put", body: `{"key":"` + key + `","value":"` + value + `"}`})
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, a.status)
		}
		head, chunks := rawPost(t, p.URL(), "/v3/maintenance/snapshot")
		lines := strings.SplitAfter(string(bytes.Join(chunks, nil)), "\n")
		require.Empty(t, lines[len(lines)-1], "the last line ends")
		lines = lines[:len(lines)-1]
		requireFlushed(t, lines, chunks)

		file, shape := joinBlobs(t, lines)
		shapes[target] = head + "\n" + shape
		path := filepath.Join(t.TempDir(), "backup.db")
		require.NoError(t, os.WriteFile(path, file, 0o600))
		out, err := exec.Command(etcdutl, "snapshot", "status", path, "--write-out=json").Output()
		require.NoError(t, err)
		var status struct{ Revision, TotalKey int64 }
		require.NoError(t, json.Unmarshal(out, &status))
		require.EqualValues(t, snapshotKeys+1, status.Revision, "%s: %s", target, out)
	}
	require.Equal(t, shapes[server.Etcd], shapes[server.Triglot])
}

// joinBlobs makes the file that lines hold, and says of which shape they are.
func joinBlobs(t *testing.T, lines []string) (file []byte, shape string) {
	t.Helper()
	type response struct {
		Remaining string `json:"remaining_bytes"`
		Blob      []byte `json:"blob"`
		Version   string `json:"version"`
	}
	kinds := make(map[string]bool)
	var all []response
	for _, line := range lines {
		var fields map[string]map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(line), &fields))
		var r struct{ Result response }
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		kinds[fmt.Sprintf("%v %v of %q", slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(fields["result"])), r.Result.Version)] = true
		all = append(all, r.Result)
		file = append(file, r.Result.Blob...)
	}
	sum := all[len(all)-1]
	require.Len(t, sum.Blob, sha256.Size, "the last line is the hash")
	require.Empty(t, sum.Remaining)
	left := len(file) - sha256.Size
	require.Zero(t, left%512, "etcd tells by this that there is a hash behind the file")
	for i, r := range all[:len(all)-1] {
		require.Len(t, r.Blob, min(left, snapshotBlob), "line %d", i)
		if left -= len(r.Blob); left > 0 {
			require.Equal(t, strconv.Itoa(left), r.Remaining)
		} else {
			require.Empty(t, r.Remaining)
		}
	}
	require.Zero(t, left)
	hash := sha256.Sum256(file[:len(file)-sha256.Size])
	require.Equal(t, hash[:], sum.Blob)
	return file, strings.Join(slices.Sorted(maps.Keys(kinds)), "\n")
}

// requireFlushed checks that a chunk of the answer ends where a line does: what is not
// flushed is sent with the beginning of the next line.
func requireFlushed(t *testing.T, lines []string, chunks [][]byte) {
	t.Helper()
	ends, at := make(map[int]bool), 0
	for _, c := range chunks {
		at += len(c)
		ends[at] = true
	}
	at = 0
	for i, line := range lines {
		at += len(line)
		require.True(t, ends[at], "line %d is not sent before the next one", i)
	}
}

// rawPost makes a request and returns the answer's head, as far as it is the same
// everywhere, and its chunks.
func rawPost(t *testing.T, url, path string) (head string, chunks [][]byte) {
	t.Helper()
	address := strings.TrimPrefix(url, "http://")
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\n{}", path, address)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	line := func() string {
		text, err := in.ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSuffix(text, "\r\n")
	}
	var heads []string
	for text := line(); text != ""; text = line() {
		if !strings.HasPrefix(text, "Date:") && !strings.HasPrefix(text, "Grpc-Metadata-") { // the latter is of the wire between
			heads = append(heads, text)
		}
	}
	slices.Sort(heads)
	require.Contains(t, heads, "Transfer-Encoding: chunked")
	for {
		size, err := strconv.ParseInt(line(), 16, 32)
		require.NoError(t, err)
		chunk := make([]byte, size)
		_, err = io.ReadFull(in, chunk)
		require.NoError(t, err)
		if size == 0 {
			return strings.Join(heads, "\n"), chunks
		}
		require.Empty(t, line())
		chunks = append(chunks, chunk)
	}
}
