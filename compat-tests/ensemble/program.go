package ensemble

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

const (
	pollInterval = 50 * time.Millisecond
	askTimeout   = time.Second
)

// program is what runs the member, with its arguments.
func (m *Member) program() ([]string, error) {
	if m.cluster.Kind == ZooKeeper {
		return m.zookeeper()
	}
	binary := m.Program
	if binary == "" {
		var err error
		if binary, err = server.Binary(string(m.cluster.Kind)); err != nil {
			return nil, err
		}
	}
	var cluster []string
	for _, other := range m.cluster.Members[:m.founders()] {
		cluster = append(cluster, other.Name+"="+other.peerURL())
	}
	args := []string{binary}
	switch {
	case m.cluster.EtcdMode && m.cluster.Kind == Triglot:
		args = append(args, "etcd")
	case m.cluster.Kind == Triglot:
		args = append(args, "serve", "--zk-listen", m.ZKEndpoint(), "--zk-4lw-whitelist=*", "--zk-tick", m.cluster.Tick.String())
	}
	args = append(args,
		"--name", m.Name, "--data-dir", m.DataDir(), "--log-level", "info",
		"--listen-client-urls", "http://"+m.EtcdEndpoint(), "--advertise-client-urls", "http://"+m.EtcdEndpoint(),
		"--listen-peer-urls", m.cluster.peerScheme()+local(m.peerPort), "--initial-advertise-peer-urls", m.peerURL(),
		"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", m.state,
	)
	if m.cluster.pki != nil {
		args = append(args, m.cluster.pki.PeerArgs()...)
	}
	return slices.Concat(args, m.cluster.Args, m.Args), nil
}

// founders is how many members --initial-cluster names: those of the beginning, or all
// up to the one that joins.
func (m *Member) founders() int { return max(m.cluster.Size, m.Index+1) }

// zookeeper writes zoo.cfg, myid and the names, and returns the command. Every member
// has the same zoo.cfg, which names hosts; in each member's own file of hosts its own
// name is the address where it listens, and those of the others are the proxies'.
func (m *Member) zookeeper() ([]string, error) {
	classpath, err := zkserver.Classpath()
	if err != nil {
		return nil, err
	}
	hosts := "127.0.0.1 localhost\n"
	lines := []string{
		"clientPort=" + strconv.Itoa(m.zkPort), "clientPortAddress=127.0.0.1", "dataDir=" + m.DataDir(),
		"tickTime=" + strconv.FormatInt(m.cluster.Tick.Milliseconds(), 10), "initLimit=10", "syncLimit=5",
		"maxClientCnxns=0", "admin.enableServer=false", "4lw.commands.whitelist=*",
	}
	for _, other := range m.cluster.Members {
		address := "127.0.0.2"
		if other == m {
			address = "127.0.0.1"
		}
		hosts += fmt.Sprintf("%s %s.test\n", address, other.Name)
		lines = append(lines, fmt.Sprintf("server.%d=%s.test:%d:%d", other.Index+1, other.Name, other.peerPort, other.electionPort))
	}
	lines = append(lines, m.cluster.Config...)
	files := map[string]string{
		filepath.Join(m.dir, "hosts"):      hosts,
		filepath.Join(m.dir, "zoo.cfg"):    strings.Join(lines, "\n") + "\n",
		filepath.Join(m.DataDir(), "myid"): strconv.Itoa(m.Index+1) + "\n",
	}
	if err := os.MkdirAll(m.DataDir(), 0o755); err != nil {
		return nil, err
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	args := []string{
		"java", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true",
		"-Djdk.net.hosts.file=" + filepath.Join(m.dir, "hosts"), "-cp", classpath,
	}
	args = append(args, m.cluster.JVM...)
	return append(args, zkserver.MainServer, filepath.Join(m.dir, "zoo.cfg")), nil
}

// anonymous turns the greeting of ZooKeeper's election (version, id, and the address at
// which to call back) into that of its first version, which is the id alone: the address
// is the one where the member listens itself, and would lead past the proxy.
func anonymous(from io.Reader) ([]byte, error) {
	header := make([]byte, 8+8+4)
	if _, err := io.ReadFull(from, header); err != nil {
		return nil, err
	}
	const longest = 1024 // of the address, as ZooKeeper has it
	length := int64(binary.BigEndian.Uint32(header[16:]))
	if length > longest {
		return nil, fmt.Errorf("an address of %d bytes", length)
	}
	_, err := io.CopyN(io.Discard, from, length)
	return header[8:16], err
}

// ready is nil once the member serves.
func (m *Member) ready(ctx context.Context) error {
	if m.cluster.Kind == ZooKeeper {
		return m.zkReady(ctx)
	}
	status, body, err := fetch(ctx, http.MethodGet, "http://"+m.EtcdEndpoint()+"/health", "")
	if err == nil && (status != http.StatusOK || !strings.Contains(body, `"health":"true"`)) {
		err = fmt.Errorf("/health answers %d: %s", status, body)
	}
	if err == nil && m.cluster.Kind == Triglot && !m.cluster.EtcdMode {
		err = m.zkReady(ctx)
	}
	return err
}

func (m *Member) zkReady(ctx context.Context) error {
	answer, err := m.Ask(ctx, "srvr")
	if err == nil && !strings.Contains(answer, "Mode: ") {
		err = fmt.Errorf("srvr answers %q", answer)
	}
	return err
}

// leads asks the member whether it leads.
func (m *Member) leads(ctx context.Context) (bool, error) {
	if m.cluster.Kind == ZooKeeper {
		answer, err := m.Ask(ctx, "srvr")
		return strings.Contains(answer, "Mode: leader"), err
	}
	_, body, err := fetch(ctx, http.MethodPost, "http://"+m.EtcdEndpoint()+"/v3/maintenance/status", "{}")
	if err != nil {
		return false, err
	}
	var status struct {
		Header struct {
			MemberID string `json:"member_id"`
		} `json:"header"`
		Leader string `json:"leader"`
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		return false, fmt.Errorf("status of %s: %w: %s", m.Name, err, body)
	}
	return status.Leader != "" && status.Leader == status.Header.MemberID, nil
}

// fetch makes an HTTP request of its own connection and returns the answer's status and text.
func fetch(ctx context.Context, method, url, body string) (status int, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	all, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, string(all), err
}

// Ask sends a four-letter word of ZooKeeper's and returns the answer.
func (m *Member) Ask(ctx context.Context, word string) (string, error) {
	dialer := net.Dialer{Timeout: askTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", m.ZKEndpoint())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // it was only read
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(all), err
}

// pidTable is the members' process ids, by index.
type pidTable struct {
	mu   sync.Mutex
	pids []int
}

func (t *pidTable) list() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.pids)
}

func (t *pidTable) grow(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.pids) < n {
		t.pids = append(t.pids, 0)
	}
}

func (t *pidTable) set(i, pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pids[i] = pid
}
