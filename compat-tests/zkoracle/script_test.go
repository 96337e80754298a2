package zkoracle

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// scriptTick makes the shortest session live for 2 s, the longest for 20 s.
const scriptTick = time.Second

// TestScript runs each file of testdata on a fresh server. What a file records is
// ZooKeeper's answer, and the server under test must give the same, or what
// allow.go allows. To record anew, or to see that the records are right:
//
//	TARGET=zookeeper go test ./zkoracle -run TestScript -rewrite
//
// A comment "#cfg KEY=VALUE" is a line of the server's zoo.cfg; SUPER in it is the
// digest of super:test, JAAS the file jaas.conf; -DPROPERTY=VALUE is a property. Where
// the server answers no reads, unsettled keeps them from being sent. A directive "run" holds commands, a line each. A command is NAME VERB ..., where
// NAME names a connection:
//
//	c connect [timeout=MS] [short] [ro] [zxid=Z] [version=N] [zeros=N]
//	    connects and begins a session, called c too; short leaves out the read-only bit
//	c reattach S [passwd=wrong|zero|short|long|empty|null] [...]   connects to session S
//	c dial | c drop            connects without a handshake | closes the socket
//	c close                    closes the session (and with it the connection)
//	c create|create2|createContainer|createTTL PATH [DATA] [eph] [seq] [container] [flags=N] [acl=A] [ttl=MS]
//	c delete PATH [VERSION] | c setData PATH [DATA] [VERSION] | c check PATH [VERSION]
//	c exists|getData|getChildren|getChildren2 PATH [watch]
//	c getACL PATH | c setACL PATH A [VERSION] | c sync PATH | c ping
//	c multi|multiRead [repeat=N] [endless] OP ; OP ...
//	c auth SCHEME DATA | c sasl DATA | c whoAmI
//	c addWatch PATH persistent|recursive|N
//	c getEphemerals PREFIX | c getAllChildrenNumber PATH | c deleteContainer PATH
//	c reconfig [joining=S] [leaving=S] [members=S] [config=N]
//	c config [watch]           getData /zookeeper/config, shown line by line
//	c setWatches|setWatches2 Z [data=P,P] [exist=P,P] [child=P,P] [persistent=P,P] [recursive=P,P]
//	c checkWatches|removeWatches PATH children|data|any|N
//	c pipeline OP | OP ...     sends all in one write
//	c mixed OP | OP ...        the same; shows no zxids of the replies, and events last
//	c quiet OP                 leaves what else comes of it to the next command
//	c op N HEX                 a request with the opcode N
//	c frame HEX | c bytes HEX  sends what follows, with or without a length ahead
//	c gone                     shows what comes until the server closes
//	c await [events=N]         waits until events have come in on c
//	restart kill|term          ends the server and starts it on its data
//	4lw WORD                   a four-letter word; what is shown is the shape;
//	                           datasize is that line of mntr
//
// DATA is "text" as in Go, null or fill=N; HEX may have N*XX in it; Z is the name of
// a zxid, z0, last or future; A is what parseACL takes.
func TestScript(t *testing.T) {
	target, err := targetFromEnv()
	require.NoError(t, err)
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Parallel()
		config, err := configOf(path)
		require.NoError(t, err)
		if *members > 1 && filepath.Base(path) == "reconfigon.txt" {
			t.Skip("it records what a standalone server says of reconfig")
		}
		s, err := start(context.Background(), target, scriptTick, config...)
		require.NoError(t, err)
		s.unsettle = slices.Contains(config, unsettled)
		defer func() {
			if t.Failed() {
				t.Logf("end of the log of %s:\n%s", target, s.host.LogTail())
			}
			require.NoError(t, s.close())
		}()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			require.Equal(t, "run", d.Cmd, d.Pos)
			if d.Rewrite {
				require.Equal(t, zooKeeper, target, "the records are ZooKeeper's")
			}
			recorded := transcript(d.Expected)
			commands := strings.Split(d.Input, "\n")
			var shown [][]string
			for i, line := range commands {
				lines, err := s.do(line)
				require.NoError(t, err, "%s: %s", d.Pos, line)
				if !d.Rewrite && i < len(recorded) && !slices.Equal(lines, recorded[i]) {
					if target == zooKeeper || allowed(line, recorded[i], lines) == nil {
						// Told here, so that the rest of the file runs too.
						t.Errorf("%s: %s\n(-ZooKeeper +ours)\n%s", d.Pos, line, cmp.Diff(recorded[i], lines))
					}
					lines = recorded[i]
				}
				shown = append(shown, lines)
			}
			return render(commands, shown)
		})
	})
}

// unsettled is a line of no meaning to servers.
const unsettled = "test.unsettled=true"

// configOf reads the lines of zoo.cfg that a script wants: those behind "#cfg ".
func configOf(path string) (config []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	jaas, err := filepath.Abs("jaas.conf")
	for line := range strings.Lines(string(text)) {
		if setting, found := strings.CutPrefix(strings.TrimSpace(line), "#cfg "); found {
			config = append(config, strings.NewReplacer("SUPER", superDigest, "JAAS", jaas).Replace(setting))
		}
	}
	return config, err
}

// render is what a directive records.
func render(commands []string, shown [][]string) string {
	var b strings.Builder
	for i, line := range commands {
		b.WriteString("> " + line + "\n")
		for _, l := range shown[i] {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// transcript takes apart what a directive recorded: the lines shown by command.
func transcript(recorded string) (shown [][]string) {
	for line := range strings.Lines(recorded) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "> ") {
			shown = append(shown, nil)
		} else if len(shown) > 0 {
			shown[len(shown)-1] = append(shown[len(shown)-1], line)
		}
	}
	return shown
}
