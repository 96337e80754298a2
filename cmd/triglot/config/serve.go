package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// ServeFlags are the flags of serve mode. Define puts them into a flag set; once
// that has parsed a command line, Load makes the configuration.
type ServeFlags struct {
	mode  Mode
	given source
}

// NewServeFlags returns flags that nobody has given.
func NewServeFlags() *ServeFlags { return &ServeFlags{mode: Serve, given: make(source)} }

// Define adds the flags to fs. Those that the mode refuses are hidden from help.
func (f *ServeFlags) Define(fs *pflag.FlagSet) {
	known(f.mode, func(o *option) {
		flag := fs.VarPF(&flagValue{mode: f.mode, option: o, given: f.given, fallback: o.fallback(f.mode)}, o.name, "", o.usage)
		flag.Hidden = o.fate != honoured
		if o.isBool() {
			flag.NoOptDefVal = "true"
		}
	})
}

// Load combines the flags with the environment and the configuration file that
// either names. A mistake is a *UsageError.
func (f *ServeFlags) Load(environ []string) (*Config, error) {
	c, err := f.load(parseEnvironment(environ))
	if err != nil {
		return nil, &UsageError{err}
	}
	return c, nil
}

func (f *ServeFlags) load(env environment) (*Config, error) {
	variables, err := env.both()
	if err != nil {
		return nil, err
	}
	var file source
	path, ok := f.given["config-file"]
	if !ok {
		path, ok = variables["config-file"]
	}
	if ok {
		if file, err = readFile(Serve, path.text); err != nil {
			return nil, err
		}
	}
	c, all, err := assemble(Serve, file, variables, f.given)
	if err != nil {
		return nil, err
	}
	env.unknown(Serve, []string{triglotPrefix, etcdPrefix}, func(name, hint string) {
		c.note(slog.LevelWarn, "an environment variable is not known"+hint, "variable", name)
	})
	if err := c.deriveServe(all); err != nil {
		return nil, err
	}
	return c, c.check()
}

// deriveServe fills in what follows from other values in serve mode.
func (c *Config) deriveServe(all source) error {
	isGiven := func(name string) bool { _, ok := all[name]; return ok }
	c.takeMount(all)
	if isGiven("logger") && !isGiven("log-format") {
		c.Log.Format = "json"
	}
	if c.Member.compactionMode == "revision" && !isGiven("auto-compaction-retention") {
		return errors.New("--auto-compaction-mode=revision needs --auto-compaction-retention, the number of revisions to keep")
	}
	if isGiven("listen-client-urls") && !isGiven("advertise-client-urls") {
		for _, u := range c.Listen.Client {
			if unspecified(u) {
				return fmt.Errorf("--listen-client-urls %s needs --advertise-client-urls, such as http://<this host>:%s: where clients find this member",
					u.String(), u.Port())
			}
		}
		c.Cluster.AdvertiseClient = c.Listen.Client
	}
	if !isGiven("initial-cluster") {
		c.Cluster.Initial = initialCluster(c.Member.Name, c.Cluster.AdvertisePeer)
	}
	return nil
}

// initialCluster is the --initial-cluster of a member alone.
func initialCluster(name string, peerURLs URLs) string {
	pairs := make([]string, len(peerURLs))
	for i, u := range peerURLs.Strings() {
		pairs[i] = name + "=" + u
	}
	return strings.Join(pairs, ",")
}

// FlagError words an error of a flag set's Parse for people: one line, with the
// nearest flag. The result is a *UsageError.
func FlagError(err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return &UsageError{unknownFlag(unknown)}
	case errors.As(err, &missing):
		return &UsageError{fmt.Errorf("--%s needs a value", missing.GetSpecifiedName())}
	case errors.As(err, &invalid):
		return &UsageError{fmt.Errorf("--%s: %w", invalid.GetFlag().Name, errors.Unwrap(invalid))}
	}
	return &UsageError{err}
}

func unknownFlag(e *pflag.NotExistError) error {
	var names []string
	known(Serve, func(o *option) {
		if o.fate == honoured {
			names = append(names, o.name)
		}
	})
	if word := e.GetSpecifiedShortnames(); word != "" {
		name, _, _ := strings.Cut(word, "=")
		if best, ok := nearest(name, names); ok {
			return fmt.Errorf("unknown flag -%s: did you mean --%s, with two dashes?", name, best)
		}
		return fmt.Errorf("unknown flag -%s", name)
	}
	name := e.GetSpecifiedName()
	return fmt.Errorf("unknown flag --%s%s", name, DidYouMean(name, names, "--"))
}

// flagValue is an option as a flag: it checks what it is given and keeps it. It
// serves package flag as well as pflag.
type flagValue struct {
	mode     Mode
	option   *option
	given    source
	fallback string
}

// Set implements both packages' Value.
func (v *flagValue) Set(text string) error {
	if v.option.fate == legacy {
		return nil // whatever it is
	}
	if err := v.option.target().check(v.mode, text); err != nil {
		return err
	}
	v.given[v.option.name] = given{text, "--" + v.option.name}
	return nil
}

// String implements both packages' Value.
func (v *flagValue) String() string {
	if v.option == nil {
		return "" // the zero value, of which package flag asks its default
	}
	return v.fallback
}

// Type implements pflag.Value.
func (v *flagValue) Type() string { return v.option.target().typeName() }

// IsBoolFlag lets the flag stand without a value.
func (v *flagValue) IsBoolFlag() bool { return v.option.target().isBool() }
