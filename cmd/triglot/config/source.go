package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// given is a value that somebody wrote for an option.
type given struct {
	text string
	from string // where, as an error names it: "--name", "ETCD_NAME", "a.yaml:3"
}

// source is what one place gives, by the option's name.
type source map[string]given

// assemble makes a Config of the defaults and the sources, of which a later one
// wins over an earlier one. Every value must be right, even one that is not used.
func assemble(m Mode, sources ...source) (*Config, source, error) {
	c := &Config{Mode: m}
	all := make(source)
	var errs []error
	known(m, func(o *option) {
		if o.aliasOf == "" {
			if err := o.set(c, o.fallback(m)); err != nil {
				panic(fmt.Sprintf("config: the default of %s: %v", o.name, err))
			}
		}
		for _, s := range sources {
			g, ok := s[o.name]
			if !ok {
				continue
			}
			if err := o.target().check(m, g.text); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", g.from, err))
				continue
			}
			all[o.name] = g
		}
	})
	if len(errs) > 0 {
		return c, nil, errs[0]
	}
	resolveAliases(c, all)
	takeFormerGates(c, all)
	return c, all, applyGiven(c, all)
}

// resolveAliases turns values under older names into values under the present
// ones, unless those are given too.
func resolveAliases(c *Config, all source) {
	known(c.Mode, func(o *option) {
		g, ok := all[o.name]
		if !ok || o.aliasOf == "" {
			return
		}
		delete(all, o.name)
		c.note(slog.LevelWarn, "an option has a new name", "given", g.from, "name", o.aliasOf)
		if _, both := all[o.aliasOf]; !both {
			all[o.aliasOf] = g
		}
	})
}

// applyGiven sets the fields of c and says what happens to the options that have
// none. The values have been checked.
func applyGiven(c *Config, all source) error {
	var errs []error
	known(c.Mode, func(o *option) {
		g, ok := all[o.name]
		if !ok {
			return
		}
		switch {
		case o.gate != "": // has gone into --feature-gates
		case o.keepsDefault(c, g.text):
		case o.fate == honoured:
			if err := o.set(c, g.text); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", g.from, err))
			}
		case o.harmless(g.text):
		case o.fate == refused, c.Mode != Etcd:
			errs = append(errs, fmt.Errorf("%s cannot be honoured: %s", g.from, o.why))
		default:
			c.note(slog.LevelWarn, "an option has no effect", "given", g.from, "why", o.why)
		}
	})
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// The prefixes of environment variables.
const (
	etcdPrefix    = "ETCD_"
	triglotPrefix = "TRIGLOT_"
)

// variable is the name of an option's environment variable.
func variable(prefix, option string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// environment is the process's environment. Later values of a variable win, an
// empty one counts as not set.
type environment map[string]string

func parseEnvironment(environ []string) environment {
	env := make(environment)
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

// both reads the variables of serve mode: either prefix will do, but two that
// contradict each other will not.
func (env environment) both() (source, error) {
	s := make(source)
	var errs []error
	known(Serve, func(o *option) {
		ours, theirs := variable(triglotPrefix, o.name), variable(etcdPrefix, o.name)
		switch a, b := env[ours], env[theirs]; {
		case a != "" && b != "" && a != b:
			errs = append(errs, fmt.Errorf("%s and %s have different values: unset one of them", ours, theirs))
		case a != "":
			s[o.name] = given{a, ours}
		case b != "":
			s[o.name] = given{b, theirs}
		}
	})
	return s, errors.Join(errs...)
}

// unknown calls fn with each variable of the given prefixes that no option has.
func (env environment) unknown(m Mode, prefixes []string, fn func(name, hint string)) {
	var names []string
	known(m, func(o *option) { names = append(names, variable("", o.name)) })
	for _, name := range sortedKeys(env) {
		for _, prefix := range prefixes {
			if rest, ok := strings.CutPrefix(name, prefix); ok && !slices.Contains(names, rest) {
				fn(name, DidYouMean(rest, names, prefix))
			}
		}
	}
}
