package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// parsed are the options of a command line.
func parsed(t *testing.T, line string) (*options, error) {
	t.Helper()
	o := &options{}
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	o.define(fs)
	require.NoError(t, fs.Parse(strings.Fields(line)))
	return o, o.complete(fs, fs.Arg(0))
}

// A mistake is refused, and the flag is named.
func TestWrongFlags(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"dance", `there is no load "dance"`},
		{"puts", `did you mean`},
		{"put --protocol gopher", `--protocol "gopher" is not one of etcd, zookeeper, http`},
		{"set --protocol etcd", `--protocol etcd has no load "set": it has put, get,`},
		{"txn --protocol http", `--protocol http has no load "txn"`},
		{"put --clients 0", "--clients 0 is less than 1"},
		{"put --connections -1", "--connections -1 is less than 0"},
		{"put --ops -1", "--ops -1 is less than 0"},
		{"put --ops 1 --duration 1s", "--ops and --duration exclude each other"},
		{"put --duration -1s", "--duration -1s is negative"},
		{"put --give-up 0s", "--give-up 0s is less than 1s"},
		{"put --grace -1s", "--grace -1s is negative"},
		{"put --rate -1", "--rate -1 is neither 0 nor between 0.001 and 1e+07"},
		{"put --rate NaN", "--rate NaN"},
		{"put --rate Inf", "--rate +Inf"},
		{"put --rate 1e8", "--rate 1e+08"},
		{"put --rate 1e-4", "--rate 0.0001"},
		{"put --keys 0", "--keys 0 is less than 1"},
		{"put --key-prefix /", `--key-prefix "/" names nothing`},
		{"put --value-bytes -1", "--value-bytes -1 is less than 0"},
		{"put --pids 0", "--pids 0 is less than 1"},
		{"put --endpoints 127.0.0.1", `--endpoints "127.0.0.1" is not host:port`},
		{"put --endpoints https://127.0.0.1:1", `--endpoints "https://127.0.0.1:1" is not host:port`},
		{"put --read-share 0.5", "--read-share is for mix, not for put"},
		{"mix --read-share 1.5", "--read-share 1.5 is not between 0 and 1"},
		{"get --limit 5", "--limit is for range, range-stream, not for get"},
		{"put --watchers 5", "--watchers is for watch-fanout, watch-keys, watch-storm, not for put"},
		{"put --streams 5", "--streams is for"},
		{"put --behind 5", "--behind is for watch-catchup"},
		{"watch-catchup --behind 5 --from-revision 5", "--behind and --from-revision exclude each other"},
		{"watch-fanout --value-bytes 19", "--value-bytes 19"},
		{"watch-storm --clients 2", "--clients 2: watch-storm has one"},
		{"txn --clients 11 --keys 10", "--clients 11: txn"},
	} {
		_, err := parsed(t, c.line)
		require.ErrorContains(t, err, c.want, c.line)
	}
}

// All mistakes are told at once.
func TestSeveralWrongFlags(t *testing.T) {
	_, err := parsed(t, "put --clients 0 --keys 0 --limit 5")
	for _, want := range []string{"--clients", "--keys", "--limit"} {
		require.ErrorContains(t, err, want)
	}
}

func TestDefaults(t *testing.T) {
	for line, check := range map[string]func(o *options){
		"put": func(o *options) {
			require.Equal(t, "etcd", o.protocol)
			require.Equal(t, []string{"127.0.0.1:2379"}, o.endpoints)
			require.Equal(t, 10*time.Second, o.pace.Duration)
			require.Equal(t, 1, o.connections)
		},
		"set --clients 1000": func(o *options) {
			require.Equal(t, "zookeeper", o.protocol)
			require.Equal(t, []string{"127.0.0.1:2181"}, o.endpoints)
			require.Equal(t, 10, o.connections)
		},
		"put --protocol http --clients 30": func(o *options) {
			require.Equal(t, 30, o.connections, "a connection has one call at a time")
		},
		"put --rate 1000 --give-up 1h":    func(o *options) { require.Equal(t, time.Hour, o.patience()) },
		"put --rate 0.01":                 func(o *options) { require.Equal(t, 2000*time.Second, o.patience()) },
		"put --endpoints http://a:1/,b:2": func(o *options) { require.Equal(t, []string{"a:1", "b:2"}, o.endpoints) },
		"range":                           func(o *options) { require.Equal(t, int64(500), o.limit) },
		"range-stream":                    func(o *options) { require.Zero(t, o.limit) },
		"range-stream --limit 7":          func(o *options) { require.Equal(t, int64(7), o.limit) },
		"watch-catchup --keys 70":         func(o *options) { require.Equal(t, int64(70), o.watch.behind) },
		"watch-catchup --from-revision 7": func(o *options) { require.Zero(t, o.watch.behind) },
		"watch-storm --watchers 30":       func(o *options) { require.Equal(t, 31, o.connections) },
		"txn --fill --clients 2000 --keys 70 --rate 5": func(o *options) {
			require.Equal(t, int64(70), o.pace.Ops)
			require.Equal(t, 2000, o.pace.Clients)
			require.Zero(t, o.pace.Rate)
			require.Equal(t, 10, o.connections)
		},
	} {
		o, err := parsed(t, line)
		require.NoError(t, err, line)
		check(o)
		require.Contains(t, o.given, "clients")
	}
}

// What is not done as it was asked for is noted.
func TestNotes(t *testing.T) {
	for line, want := range map[string][]string{
		"watch-storm --watchers 30":                        nil,
		"watch-storm --watchers 30 --connections 31":       nil,
		"watch-storm --watchers 30 --connections 3":        {"watch-storm has 31 sessions instead of 3 --connections: one for each watcher, and one that sets"},
		"watch-storm --watchers 30 --connections 3 --fill": nil,
		"set --connections 3":                              nil,
	} {
		o, err := parsed(t, line)
		require.NoError(t, err)
		require.Equal(t, want, o.notes, line)
	}
}

// Each load is explained.
func TestHelpNamesEveryLoad(t *testing.T) {
	var out bytes.Buffer
	cmd := NewCommand(&out, &out, new(bool))
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--help"})
	require.NoError(t, cmd.Execute())
	for _, load := range allLoads() {
		require.Regexp(t, `\b`+load+`\b`, out.String())
	}
	require.Contains(t, out.String(), "10 setData of different znodes in one multi")
	cmd = NewCommand(&out, &out, new(bool))
	cmd.SetArgs(nil)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	require.ErrorContains(t, cmd.Execute(), "takes one load: count, create,")
}
