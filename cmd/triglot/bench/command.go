package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

const help = `Load servers and measure them: Triglot, etcd or ZooKeeper, whoever speaks the protocol.

The LOAD says what is asked. Those of etcd's protocol:
  put, get (linearizable), sget (serializable), mix (gets and puts), delete
  range (--limit rows), range-stream (etcd 3.7's RangeStream; Range if the server has none), count (count_only of all keys)
  txn (as Kubernetes updates: compare the revision, put, or else read)
  watch-latency (each client writes a key of its own, watched once), watch-fanout (one key, --watchers of it),
  watch-keys (--watchers keys, each watched once): a write, then its delivery to all; latencies and CPU are per delivery
  watch-catchup (a watch of the prefix from --behind revisions ago up to now; CPU is per event, latency per catch-up)
  lease-keepalive
Those of ZooKeeper's:
  create, set, get, mix (gets and sets), get-children (of 100), multi (10 setData of different znodes in one multi)
  ephemeral-churn (create and delete one), session-storm (connect, open a session, close it)
  watch-storm (--watchers sessions watch one znode; set, delivery to all, and all watch again)
Those of http, etcd's JSON gateway: put, get, mix.

What a load reads is written first if it is not there; --fill does only that.`

// NewCommand is triglot bench. It leaves in status that something failed which stands in
// the report.
func NewCommand(stdout, stderr io.Writer, failed *bool) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "bench LOAD",
		Short: "Load servers and measure them: Triglot, etcd or ZooKeeper",
		Long:  help,
		Example: `  triglot bench put --clients 100 --duration 10s
  triglot bench get --clients 1000 --ops 100000 --pids $(pgrep -d, -x triglot) --html report.html
  triglot bench put --rate 5000 --clients 200 --duration 30s --json result.json
  triglot bench set --protocol zookeeper --endpoints 127.0.0.1:2181 --clients 100`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("triglot bench takes one load: %s", strings.Join(allLoads(), ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(cmd.Flags(), args[0]); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			var err error
			if *failed, err = perform(ctx, o, stdout, stderr); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return nil
		},
	}
	o.define(cmd.Flags())
	return cmd
}
