package config

import (
	"regexp"
	"strings"
)

// flagName is an option as the messages of this package and of core/node name it.
var flagName = regexp.MustCompile(`--[a-z0-9]+(-[a-z0-9]+)*`)

// takeNames notes what options are called where they were given: --data-dir is dataDir to
// who wrote a zoo.cfg.
func (z *givenZK) takeNames(all source) {
	z.names = map[string]string{"--wal-dir": "dataLogDir"} // also if it was taken out of the file
	for name, g := range all {
		z.names["--"+name] = g.from
	}
}

// Named words an error in the names under which its options were given. In other modes
// than ZooKeeper it is the error itself.
func (c *Config) Named(err error) error {
	if err == nil || len(c.ZooKeeper.given.names) == 0 {
		return err
	}
	text := flagName.ReplaceAllStringFunc(err.Error(), func(flag string) string {
		return orText(c.ZooKeeper.given.names[flag], flag)
	})
	// Several options may come from the same lines.
	text = strings.ReplaceAll(text, "server.N and server.N", "the lines server.N")
	return &namedError{text, err}
}

// namedError is an error in other words.
type namedError struct {
	text string
	err  error
}

func (e *namedError) Error() string { return e.text }

// Unwrap returns the error in its own words.
func (e *namedError) Unwrap() error { return e.err }
