//go:build unix

package kazoo

import (
	"context"
	"encoding/xml"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

var whole = flag.Bool("whole", false, "run the whole suite, which takes four minutes")

// members is the size of the ensemble, kazoo's own default.
const members = 3

// short are the modules and classes that run unless -whole is given: most requests of
// the protocol, watches, ACLs, authentication, TLS and SASL.
var short = []string{
	"test_client.py::TestClient", "test_client.py::TestClientTransactions", "test_client.py::TestAuthentication",
	"test_client.py::TestSSLClient", "test_client.py::TestReconfig", "test_build.py", "test_sasl.py", "test_cache.py", "test_counter.py",
}

const (
	passed  = "passed"
	failed  = "failed"
	skipped = "skipped"
	either  = "either" // passes or fails, by a race in the suite or in kazoo
)

// testTimeout bounds a test of the suite, suiteTimeout all of it, and exitTimeout the
// end of the process once the results are written: threads of clients without a server
// hold it up.
const (
	testTimeout  = time.Minute
	suiteTimeout = 12 * time.Minute
	exitTimeout  = 10 * time.Second
	pollInterval = 100 * time.Millisecond
)

func TestSuite(t *testing.T) {
	known := readKnown(t)
	what := short
	if *whole {
		what = nil
	}
	results, output := run(t, what)
	require.NotEmpty(t, results, "%s", output)
	if late := unexpected(results, known); len(late) > 0 && len(late) <= mostAgain {
		// Some wait five seconds for a server to come back, and no longer. What is wrong
		// with a server is wrong without others, too.
		t.Logf("these failed, and run once more by themselves: %v", late)
		again, text := run(t, late)
		for name, outcome := range again {
			results[name] = outcome
		}
		output += text
	}
	wrong := 0
	for name, got := range results {
		want := passed
		if k, ok := known[name]; ok {
			want = k.outcome
		}
		if got != want && (want != either || got == skipped) {
			wrong++
			t.Errorf("%s: %s, want %s %s", name, got, want, known[name].reason)
		}
	}
	for name := range known {
		if _, ran := results[name]; *whole && !ran {
			wrong++
			t.Errorf("%s is in known.txt, and there is no such test", name)
		}
	}
	if wrong > 0 {
		t.Logf("end of the suite's output:\n%s", server.Tail(output, 200))
	}
	t.Logf("%d tests, of which %d are known not to pass", len(results), len(known))
}

// mostAgain is how many tests may have been held up.
const mostAgain = 4

// unexpected are the tests that failed and are not known to, as pytest names them below
// the suite's directory.
func unexpected(results map[string]string, known map[string]expectation) []string {
	var list []string
	for name, outcome := range results {
		if _, ok := known[name]; outcome != failed || ok {
			continue
		}
		if parts := strings.SplitN(name, ".", 3); len(parts) == 3 {
			list = append(list, parts[0]+".py::"+parts[1]+"::"+parts[2])
		}
	}
	slices.Sort(list)
	return list
}

// expectation is a line of known.txt.
type expectation struct{ outcome, reason string }

func readKnown(t *testing.T) map[string]expectation {
	t.Helper()
	text, err := os.ReadFile("known.txt")
	require.NoError(t, err)
	known := make(map[string]expectation)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		outcome, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
		require.Contains(t, []string{failed, skipped, either}, outcome, line)
		require.NotEmpty(t, strings.TrimSpace(reason), "%s: a reason is missing", name)
		require.NotContains(t, known, name)
		known[name] = expectation{outcome, strings.TrimSpace(reason)}
	}
	return known
}

// run runs some of the suite, or all of it for nil, in a directory and a process group
// of its own, and returns how each test ended.
func run(t *testing.T, what []string) (results map[string]string, output string) {
	t.Helper()
	python, err := interpreter()
	require.NoError(t, err)
	dir := t.TempDir()
	report := filepath.Join(dir, "report.xml")
	args := []string{
		"-m", "pytest", "-p", "no:cacheprovider", "-v", "-W", "ignore",
		"--timeout", strconv.Itoa(int(testTimeout.Seconds())), "--junitxml", report,
	}
	args = append(args, selection(t, python, what)...)

	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd := exec.Command(python, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(environ(), targetEnv(t)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, log.Close()) // the child has its own
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // the report says what happened
	}()
	waitFor(done, suiteTimeout, func() bool { _, err := os.Stat(report); return err == nil })
	waitFor(done, exitTimeout, func() bool { return false })
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and what the suite left behind
	<-done

	text, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	content, err := os.ReadFile(report)
	require.NoError(t, err, "the suite did not end: %s", server.Tail(string(text), 100))
	return parseReport(t, content), string(text)
}

// waitFor waits until done is closed, a condition holds or the time is up.
func waitFor(done <-chan struct{}, limit time.Duration, holds func() bool) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	deadline := time.After(limit)
	for !holds() {
		select {
		case <-done:
			return
		case <-deadline:
			return
		case <-ticker.C:
		}
	}
}

// selection are pytest's arguments for what is to run.
func selection(t *testing.T, python string, what []string) []string {
	t.Helper()
	if what == nil {
		return []string{"--pyargs", "kazoo.tests"}
	}
	at, err := exec.Command(python, "-c", "import kazoo.tests; print(kazoo.tests.__path__[0])").Output()
	require.NoError(t, err)
	var list []string
	for _, name := range what {
		list = append(list, filepath.Join(strings.TrimSpace(string(at)), name))
	}
	return list
}

// parseReport reads JUnit's form. A test whose setup fails has failed.
func parseReport(t *testing.T, content []byte) map[string]string {
	t.Helper()
	var report struct {
		Cases []struct {
			Class   string    `xml:"classname,attr"`
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	require.NoError(t, xml.Unmarshal(content, &report))
	results := make(map[string]string)
	for _, c := range report.Cases {
		// pytest names a class by its path, which depends on where it is called.
		class := c.Class[strings.LastIndex("."+c.Class, ".test_"):]
		name := class + "." + c.Name
		switch {
		case c.Failure != nil || c.Error != nil:
			results[name] = failed
		case c.Skipped != nil && results[name] == "":
			results[name] = skipped
		case results[name] == "":
			results[name] = passed
		}
	}
	return results
}

// environ is this process's environment without what either server or the suite
// would read.
func environ() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "ZOOKEEPER_") && !strings.HasPrefix(name, "TRIGLOT_") && !strings.Contains(name, "JVMFLAGS") {
			env = append(env, v)
		}
	}
	return env
}

// targetEnv has the suite start the server that is to be judged.
func targetEnv(t *testing.T) []string {
	t.Helper()
	env := []string{
		"CI=true", // has it look at the server's version
		"ZOOKEEPER_VERSION=" + zkserver.Version,
		"ZOOKEEPER_CLUSTER_SIZE=" + strconv.Itoa(members),
		"ZOOKEEPER_PORT_OFFSET=" + strconv.Itoa(freePorts(t)),
	}
	if os.Getenv("TARGET") == "zookeeper" {
		classpath, err := zkserver.Classpath()
		require.NoError(t, err)
		return append(env, "ZOOKEEPER_CLASSPATH="+classpath)
	}
	triglot, err := server.Binary("triglot")
	require.NoError(t, err)
	shim, err := filepath.Abs("shim")
	require.NoError(t, err)
	return append(env, "ZOOKEEPER_CLASSPATH=none", "TRIGLOT="+triglot, "PATH="+shim+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// freePorts returns the first of the ports in a row that the harness takes for a
// server.
func freePorts(t *testing.T) int {
	t.Helper()
	const perServer = 5
	for range 50 {
		first, err := server.FreePort()
		require.NoError(t, err)
		if allFree(first, perServer*members) {
			return first
		}
	}
	require.Fail(t, "no ports in a row are free")
	return 0
}

func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close() // it was only asked whether it is free
	}
	return true
}

// pipTimeout bounds the making of the virtual environment.
const pipTimeout = 10 * time.Minute

// interpreter is the Python of a virtual environment with what requirements.txt names,
// made below .build unless there is one.
func interpreter() (python string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), pipTimeout)
	defer cancel()
	python, err = server.Python(ctx, "requirements.txt")
	if err != nil {
		return "", fmt.Errorf("the suite's Python: %w", err)
	}
	return python, nil
}
