package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// zooTimeout bounds a start that fails.
const zooTimeout = 30 * time.Second

const noAccess = "Unable to access datadir, exiting abnormally"

// What a ZooKeeper does not start with, triglot zookeeper does not either: the exit
// status is the same, and so are the words.
func TestZooCfgThatZooKeeperRefuses(t *testing.T) {
	classpath, err := zkserver.Classpath()
	require.NoError(t, err)
	triglot, err := server.Binary("triglot")
	require.NoError(t, err)
	const ok = "dataDir=DIR/data\nclientPort=0\n"
	const three = ok + "initLimit=1\nsyncLimit=1\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\nserver.3=127.0.0.1:5:6\n"
	tests := []struct{ name, text, words string }{
		{"no directory", "clientPort=0", "dataDir is not set"},
		{"no tick", ok + "tickTime=0", "tickTime is not set"},
		{"a tick that is no number", ok + "tickTime=2s", `For input string: "2s"`},
		{"timeouts the wrong way round", ok + "minSessionTimeout=2\nmaxSessionTimeout=1", "minSessionTimeout must not be larger than maxSessionTimeout"},
		{"an address without a port", "dataDir=DIR/data\nclientPortAddress=127.0.0.1", "clientPortAddress is set but clientPort is not set"},
		{"neither true nor false", ok + "reconfigEnabled=yes", "Invalid option yes for reconfigEnabled. Choose 'true' or 'false.'"},
		{"an election of the past", ok + "electionAlg=0", "Invalid electionAlg value. Only 3 is supported."},
		{"an unknown kind of peer", ok + "peerType=learner", "Unrecognised peertype: learner"},
		{"metrics of an unknown class", ok + "metricsProvider.className=a.B", "metrics provider class was not found"},
		{"quorum authentication by halves", ok + "quorum.auth.serverRequireSasl=true", "quorum.auth.enableSasl is disabled, so cannot enable quorum.auth.serverRequireSasl"},
		{"nobody votes", ok + "standaloneEnabled=false", "standaloneEnabled = false then number of participants should be >0"},
		{"an observer alone", ok + "server.1=127.0.0.1:1:2:observer", "Observers w/o participants is an invalid configuration"},
		{"one port twice", ok + "server.1=127.0.0.1:1:1", "Client and election port must be different! Please update the configuration file on server.1"},
		{"an ensemble without limits", ok + "server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4", "initLimit is not set"},
		{"an ensemble without myid", ok + "initLimit=1\nsyncLimit=1\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4", "myid file is missing"},
		{"a myid of no server", "myid=9\n" + three, "My id 9 not in the peer list"},
		{"a myid that is no number", "myid=one\n" + three, "serverid one is not a number"},
		{"an ensemble without a second limit", "myid=1\n" + strings.Replace(three, "syncLimit=1\n", "", 1), "syncLimit is not set"},
		{"a server without an election", "myid=1\n" + three + "server.4=127.0.0.1:7\n", "does not have the form server_config or server_config;client_config"},
		{"a server that is neither", "myid=1\n" + three + "server.4=127.0.0.1:7:8:learner\n", "Unrecognised peertype: learner"},
		{"two addresses for clients", "myid=1\n" + three + "clientPort=7\nserver.1=127.0.0.1:1:2;8\n", "is different from client address found in dynamic file"},
		{"servers here and there", ok + "dynamicConfigFile=DIR/d\nserver.1=127.0.0.1:1:2", "must be in a separate dynamic config file"},
		{"no dynamic file", ok + "dynamicConfigFile=DIR/d", "Error processing "},
		{"a weight that is no number", ok + "weight.1=x", `For input string: "x"`},
		{"a weight of no server", ok + "weight.x=1", `For input string: "x"`},
		{"a weight of nothing", ok + "weight=1", `For input string: "weight"`},
		{"an empty group", ok + "group.1=", `For input string: ""`},
		{"a server in two groups", ok + "group.1=1\ngroup.2=1\nweight.1=1", "is in multiple groups"},
		{"a server in no group", ok + "server.1=127.0.0.1:1:2\nweight.1=1", "is not in a group"},
		{"a byte order mark", "\xef\xbb\xbf" + ok, "dataDir is not set"},
		{"a file for a directory", "clientPort=0\ndataDir=DIR/zoo.cfg", noAccess},
		{"a directory below a file", "clientPort=0\ndataDir=DIR/zoo.cfg/data", noAccess},
		{"a file for the log's directory", ok + "dataLogDir=DIR/zoo.cfg", noAccess},
		{"a directory to be there", ok + "datadir.autocreate=false", noAccess},
		{"an escape that is none", ok + `a=\u00`, `Malformed \uxxxx encoding.`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			theirs, theirText := startZoo(t, test.text, "java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", classpath, zkserver.MainServer)
			ours, ourText := startZoo(t, test.text, triglot, "zookeeper")
			require.Contains(t, theirText, test.words)
			require.Contains(t, ourText, test.words)
			require.Equal(t, theirs, ours)
			require.Equal(t, 1, strings.Count(ourText, "\n"), "one line says why: %s", ourText)
		})
	}
}

// startZoo starts a server with a zoo.cfg, which is to fail, and returns its exit
// status and what it said. A first line myid= is the file of that name.
func startZoo(t *testing.T, text string, command ...string) (status int, said string) {
	t.Helper()
	dir := t.TempDir()
	if rest, ok := strings.CutPrefix(text, "myid="); ok {
		id, rest, _ := strings.Cut(rest, "\n")
		text = rest
		require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "myid"), []byte(id), 0o600))
	}
	path := filepath.Join(dir, "zoo.cfg")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), zooTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], path)...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}
