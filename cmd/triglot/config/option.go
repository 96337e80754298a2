package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fate is what becomes of an option that is given.
type fate uint8

const (
	honoured fate = iota
	// ignored options have no use here. Etcd mode says so in the log, serve mode
	// refuses them: whoever writes one there expects something of it.
	ignored
	// refused options would be dangerous to ignore.
	refused
	// legacy options have been without effect in etcd itself for years. Serve mode
	// does not know them.
	legacy
)

// option is one key of the configuration. Its name is that of the flag and of the
// file's key; the variables are called ETCD_NAME and TRIGLOT_NAME.
type option struct {
	name  string
	group string
	usage string
	// field returns a pointer to where the value goes: a *string, *bool, *int64,
	// *uint64, *uint32, *time.Duration, *[]string, *URLs or *Gates.
	field func(*Config) any
	etcd  string // the default
	serve string // the default in the other modes, if it is another
	oneOf []string
	// valid refuses what the type and oneOf let through.
	valid func(m Mode, text string) error

	fate fate
	why  string   // the reason, if not honoured
	same []string // values, besides the default, that change nothing here
	// aliasOf is the option of which this one is an older name; such a row has a
	// name and nothing else.
	aliasOf string
	// gate is the feature gate that the option has become; such a row has no field
	// of its own.
	gate string
	// etcdOnly options are unknown to serve mode.
	etcdOnly bool
}

func (o *option) fallback(m Mode) string {
	if text, ok := zooKeeperDefaults[o.name]; ok && m == ZooKeeper {
		return text
	}
	if m != Etcd && o.serve != "" {
		return o.serve
	}
	return o.etcd
}

// set parses text into the option's field of c.
func (o *option) set(c *Config, text string) error {
	if o.oneOf != nil && !slices.Contains(o.oneOf, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(o.oneOf, ", "))
	}
	if o.valid != nil {
		if err := o.valid(c.Mode, text); err != nil {
			return err
		}
	}
	return assign(o.field(c), text)
}

// check reports whether text could be set.
func (o *option) check(m Mode, text string) error { return o.set(&Config{Mode: m}, text) }

// keepsDefault reports whether an empty value stands for the default: for that of a
// list of addresses it does with etcd.
func (o *option) keepsDefault(c *Config, text string) bool {
	_, addresses := o.field(c).(*URLs)
	return c.Mode == Etcd && addresses && text == ""
}

// harmless reports whether text asks for what happens anyway: the default, or a
// value that is the same to us.
func (o *option) harmless(text string) bool {
	canonical := func(text string) string {
		field := o.field(new(Config))
		if err := assign(field, text); err != nil {
			return text
		}
		return format(field)
	}
	given := canonical(text)
	return given == canonical(o.etcd) || slices.ContainsFunc(o.same, func(s string) bool { return given == canonical(s) })
}

// isBool reports whether the flag may stand without a value.
func (o *option) isBool() bool {
	_, ok := o.field(new(Config)).(*bool)
	return ok || o.fate == legacy
}

// typeName is what a help text calls the value.
func (o *option) typeName() string {
	switch o.field(new(Config)).(type) {
	case *bool:
		return "bool"
	case *int64, *uint64, *uint32:
		return "number"
	case *time.Duration:
		return "duration"
	case *URLs:
		return "urls"
	case *[]string, *Gates:
		return "list"
	default:
		return "string"
	}
}

// assign parses text into what field points to.
func assign(field any, text string) (err error) {
	switch p := field.(type) {
	case *string:
		*p = text
	case *[]string:
		*p = splitList(text)
	case *bool:
		*p, err = strconv.ParseBool(text)
		err = explain(err, text, "neither true nor false")
	case *uint64:
		*p, err = strconv.ParseUint(text, 0, 64)
		err = explain(err, text, "not a whole number from 0")
	case *uint32:
		var n uint64
		n, err = strconv.ParseUint(text, 0, 32)
		*p, err = uint32(n), explain(err, text, "not a whole number from 0")
	case *int64:
		*p, err = strconv.ParseInt(text, 0, 64)
		err = explain(err, text, "not a whole number")
	case *time.Duration:
		*p, err = time.ParseDuration(text)
		err = explain(err, text, "not a duration such as 100ms, 5s or 10m")
	case *URLs:
		*p, err = ParseURLs(text)
	case *Gates:
		*p, err = parseGates(text)
	default:
		panic(fmt.Sprintf("config: no parser for %T", field))
	}
	return err
}

func explain(err error, text, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%q is out of range", text)
	}
	return fmt.Errorf("%q is %s", text, what)
}

// format is the inverse of assign, up to spelling.
func format(field any) string {
	switch p := field.(type) {
	case *string:
		return *p
	case *[]string:
		return strings.Join(*p, ",")
	case *bool:
		return strconv.FormatBool(*p)
	case *uint64:
		return strconv.FormatUint(*p, 10)
	case *uint32:
		return strconv.FormatUint(uint64(*p), 10)
	case *int64:
		return strconv.FormatInt(*p, 10)
	case *time.Duration:
		return p.String()
	case *URLs:
		return p.String()
	case *Gates:
		return p.String()
	default:
		panic(fmt.Sprintf("config: no format for %T", field))
	}
}

// splitList splits at commas, without repetitions and empty elements.
func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list
}

// target is the option that o is an older name of, or o itself.
func (o *option) target() *option {
	if o.aliasOf == "" {
		return o
	}
	t, ok := lookup(Etcd, o.aliasOf)
	if !ok {
		panic("config: " + o.name + " is an older name of nothing")
	}
	return t
}

// lookup finds an option that a mode knows by its name.
func lookup(m Mode, name string) (found *option, ok bool) {
	known(m, func(o *option) {
		if o.name == name {
			found, ok = o, true
		}
	})
	return found, ok
}

// known calls fn for each option that a mode knows, in the table's order.
func known(m Mode, fn func(*option)) {
	for _, group := range options {
		for i := range group {
			o := &group[i]
			if m == Etcd || !o.etcdOnly && (m != ZooKeeper || o.name != "config-file") { // zoo.cfg is its file
				fn(o)
			}
		}
	}
}

// discard is the field of an option whose value goes nowhere.
func discard[T any](*Config) any { return new(T) }
