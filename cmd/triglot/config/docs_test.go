package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/compat/flags.md")

const (
	docsFile  = "../../../docs/compat/flags.md"
	docsBegin = "<!-- tables: begin -->\n"
	docsEnd   = "<!-- tables: end -->\n"
)

// The page for users says of every option what the code does with it.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(docsFile)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(text), docsBegin)
	require.True(t, ok, "the page has lost its mark %q", docsBegin)
	_, tail, ok := strings.Cut(rest, docsEnd)
	require.True(t, ok, "the page has lost its mark %q", docsEnd)
	want := head + docsBegin + tables() + docsEnd + tail
	if *update {
		require.NoError(t, os.WriteFile(docsFile, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "run: go test ./cmd/triglot/config -run TestDocs -update")
}

func tables() string {
	var b strings.Builder
	b.WriteString("\n## Honoured\n\n| flag | default: `serve` | `etcd` | meaning |\n|---|---|---|---|\n")
	known(Etcd, func(o *option) {
		if o.fate == honoured && o.aliasOf == "" && o.gate == "" && o.name != "version" {
			fmt.Fprintf(&b, "| `--%s` | %s | %s | %s |\n", o.name, code(o.fallback(Serve)), code(o.etcd), o.usage)
		}
	})
	section := func(title, intro string, fate fate) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| flag | says nothing for | why |\n|---|---|---|\n", title, intro)
		known(Etcd, func(o *option) {
			if o.fate == fate {
				same := code(o.etcd)
				for _, s := range o.same {
					same += ", " + code(s)
				}
				fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", o.name, same, o.why)
			}
		})
	}
	section("Refused", "In all modes, unless the value asks for what happens anyway.", refused)
	section("Without effect", "In etcd mode accepted with one warning in the log that names the option; `serve` and `zookeeper` refuse them.", ignored)
	b.WriteString("\n## Older names\n\nIn etcd mode accepted with one warning in the log; `serve` and `zookeeper` do not know them.\n\n| flag | is |\n|---|---|\n")
	known(Etcd, func(o *option) {
		switch {
		case o.aliasOf != "":
			fmt.Fprintf(&b, "| `--%s` | `--%s` |\n", o.name, o.aliasOf)
		case o.gate != "":
			fmt.Fprintf(&b, "| `--%s` | gate `%s` |\n", o.name, o.gate)
		}
	})
	b.WriteString("\n## Long gone\n\nIn etcd mode accepted in silence, with or without a value, as etcd does; `serve` and `zookeeper` do not know them.\n\n")
	var names []string
	known(Etcd, func(o *option) {
		if o.fate == legacy {
			names = append(names, "`--"+o.name+"`")
		}
	})
	b.WriteString(strings.Join(names, ", ") + "\n\n")
	return b.String()
}

func code(s string) string {
	if s == "" {
		return "(empty)"
	}
	return "`" + s + "`"
}

// testdata/etcd-3.7.3.flags is every flag that etcd 3.7.3 defines.
func TestEveryFlagOfEtcdIsKnown(t *testing.T) {
	text, err := os.ReadFile("testdata/etcd-3.7.3.flags")
	require.NoError(t, err)
	names := strings.Fields(string(text))
	require.Len(t, names, 128)
	for _, name := range names {
		o, ok := lookup(Etcd, name)
		require.True(t, ok, name)
		require.True(t, o.fate == honoured || o.why != "", "%s: the reason is missing", name)
	}
	seen := make(map[string]bool)
	known(Etcd, func(o *option) {
		require.False(t, seen[o.name], "two rows for %s", o.name)
		seen[o.name] = true
	})
}
