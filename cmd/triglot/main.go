package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/triglot/triglot/cmd/triglot/config"
)

func main() {
	p := &process{args: os.Args, environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.run())
}

// process is what the operating system gives a program.
type process struct {
	args, environ  []string
	stdout, stderr io.Writer
}

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // cannot run
	exitUsage  = 2 // a mistake in what was asked for
)

// run does what the arguments ask for and returns the exit status.
func (p *process) run() int {
	if name := filepath.Base(p.args[0]); strings.TrimSuffix(name, ".exe") == "etcd" {
		return p.etcd(p.args[1:])
	}
	status := exitOK
	root := p.command(&status)
	root.SetArgs(p.args[1:])
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	if err := root.Execute(); err != nil {
		return p.complain(err)
	}
	return status
}

// complain says in one line why the program ends, and returns its status.
func (p *process) complain(err error) int {
	say(p.stderr, "triglot: "+oneLine(err)+"\n")
	return statusOf(err)
}

// say writes text for a person, who may have gone: there is nobody else to tell.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// oneLine is the text of an error, which may be several joined ones.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

const rootHelp = `Triglot is one replicated store that speaks etcd's protocol, ZooKeeper's and HTTP.

Start a server:       triglot serve
Talk to it:           etcdctl --endpoints=http://localhost:2379 put hello world
As a drop-in etcd:    triglot etcd --name m1 --data-dir m1.etcd
As a ZooKeeper:       triglot zookeeper zoo.cfg`

// command is the tree of commands. Those that run a server leave the exit status
// in status.
func (p *process) command(status *int) *cobra.Command {
	root := &cobra.Command{
		Use:           "triglot",
		Short:         "A replicated store that speaks etcd's protocol, ZooKeeper's and HTTP",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return config.FlagError(err) })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.Version = version
	root.SetVersionTemplate(versionText())
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(p.serveCommand(status), p.etcdCommand(status), p.zookeeperCommand(status), p.restoreCommand(), p.snapshotCommand(),
		p.statusCommand(status), p.benchCommand(status), p.clusterCommand(), p.versionCommand())
	return root
}

// helpCommand is cobra's, but for a command that there is not.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			return cmd.Help()
		},
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	slices.Sort(names)
	return &config.UsageError{Err: fmt.Errorf("unknown command %q%s", name, config.DidYouMean(name, names, "triglot "))}
}

func (p *process) serveCommand(status *int) *cobra.Command {
	flags := config.NewServeFlags()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a member",
		Long: `Run a member of a cluster: its data in --data-dir, its clients at --listen-client-urls.

Every flag is also an environment variable (--data-dir is TRIGLOT_DATA_DIR or
ETCD_DATA_DIR) and a key of the YAML file of --config-file (data-dir). A flag wins
over the environment, and the environment over the file.`,
		Example: `  triglot serve
  triglot serve --data-dir /var/lib/triglot --listen-client-urls http://127.0.0.1:2379
  triglot serve --config-file triglot.yaml`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := flags.Load(p.environ)
			if err != nil {
				return err
			}
			*status = p.serve(cfg)
			return nil
		},
	}
	flags.Define(cmd.Flags())
	cmd.Flags().SortFlags = false
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &config.UsageError{Err: fmt.Errorf("%s takes flags only, not %q", cmd.CommandPath(), args[0])}
}

func (p *process) etcdCommand(status *int) *cobra.Command {
	return &cobra.Command{
		Use:                "etcd [etcd's flags]",
		Short:              "Run a member with the command line of the etcd binary",
		DisableFlagParsing: true,
		Run:                func(_ *cobra.Command, args []string) { *status = p.etcd(args) },
	}
}

func (p *process) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Args:  noArguments,
		Run:   func(*cobra.Command, []string) { say(p.stdout, versionText()) },
	}
}
