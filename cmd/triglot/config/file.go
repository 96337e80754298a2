package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file: a larger one is some other file.
const maxFileBytes = 1 << 20

// readFile reads a configuration file. In etcd mode the sections of etcd's file
// are understood and unknown keys are passed over, as etcd does; else they are
// refused.
func readFile(m Mode, path string) (source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration file: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration file: %w", err)
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes: it is no configuration file", path, maxFileBytes)
	}
	return parseFile(m, filepath.Base(path), text)
}

func parseFile(m Mode, name string, text []byte) (source, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return source{}, nil // nothing but comments
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p := fileParser{mode: m, name: name, values: make(source)}
	if err := p.section(doc.Content[0], ""); err != nil {
		return nil, err
	}
	if err := decoder.Decode(&doc); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: a second document begins at line %d: one file is one configuration", name, doc.Line)
	}
	return p.values, nil
}

type fileParser struct {
	mode   Mode
	name   string
	values source
}

func (p *fileParser) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", p.name, n.Line) }

// section reads one mapping; under is the name of the section, empty for the
// file itself.
func (p *fileParser) section(n *yaml.Node, under string) error {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: key: value pairs are expected here", p.at(n))
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if line := seen[key.Value]; line != 0 {
			return fmt.Errorf("%s: %s is given a second time: the first is at line %d", p.at(key), key.Value, line)
		}
		seen[key.Value] = key.Line
		if err := p.entry(key, value, under); err != nil {
			return err
		}
	}
	return nil
}

func (p *fileParser) entry(key, value *yaml.Node, under string) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	switch {
	case p.mode == Etcd && under == "" && sections[key.Value] != nil:
		return p.section(value, key.Value)
	case under == discoverySection && key.Value == "client":
		return p.section(value, under) // its keys are on two levels
	}
	name := key.Value
	if under != "" {
		name = sections[under][name]
	}
	o, ok := lookup(p.mode, name)
	switch {
	case ok && (name == "config-file" || name == "version" || o.fate == legacy):
		ok = false // flags that are no keys
	case ok && under == "" && p.mode == Etcd && slices.Contains(etcdFlagsOnly, name):
		ok = false
	}
	if !ok {
		if p.mode == Etcd {
			return nil
		}
		return fmt.Errorf("%s: unknown key %s%s", p.at(key), key.Value, DidYouMean(key.Value, fileKeys(), ""))
	}
	if isNull(value) {
		return nil
	}
	text, err := p.text(value)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", p.at(value), name, err)
	}
	kind := o.target().typeName()
	if p.mode == Etcd && text == "" && (kind == "urls" || kind == "list") {
		return nil // as not given
	}
	if p.mode == Etcd && kind == "duration" && wholeNumber.MatchString(text) {
		text += "ns" // etcd's files give durations in nanoseconds
	}
	p.values[name] = given{text, p.at(value) + ": " + key.Value}
	return nil
}

// wholeNumber is how etcd's files write a duration.
var wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)

// text is a scalar as written, or the elements of a list with commas between.
func (p *fileParser) text(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, nil
	case yaml.SequenceNode:
		items := make([]string, len(n.Content))
		for i, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("a list of plain values is expected")
			}
			items[i] = item.Value
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("a plain value or a list is expected")
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// fileKeys are the keys to suggest in serve mode.
func fileKeys() []string {
	var names []string
	known(Serve, func(o *option) {
		if o.fate == honoured && o.name != "config-file" {
			names = append(names, o.name)
		}
	})
	return names
}

// etcdFlagsOnly are flags that etcd does not read from its file; its own sample
// file holds values of them that it would refuse on the command line.
var etcdFlagsOnly = []string{"discovery", "discovery-proxy", "discovery-fallback", "discovery-endpoints", "discovery-token"}

const discoverySection = "discovery-config"

// sections are the nested mappings of etcd's file: the flag that each key is.
var sections = map[string]map[string]string{
	"client-transport-security": {
		"cert-file":        "cert-file",
		"key-file":         "key-file",
		"client-cert-file": "client-cert-file",
		"client-key-file":  "client-key-file",
		"client-cert-auth": "client-cert-auth",
		"trusted-ca-file":  "trusted-ca-file",
		"auto-tls":         "auto-tls",
		"allowed-cn":       "client-cert-allowed-cn",
		"allowed-hostname": "client-cert-allowed-hostname",

		"skip-client-san-verification": "client-skip-client-san-verification",
	},
	"peer-transport-security": {
		"cert-file":                    "peer-cert-file",
		"key-file":                     "peer-key-file",
		"client-cert-file":             "peer-client-cert-file",
		"client-key-file":              "peer-client-key-file",
		"client-cert-auth":             "peer-client-cert-auth",
		"trusted-ca-file":              "peer-trusted-ca-file",
		"auto-tls":                     "peer-auto-tls",
		"allowed-cn":                   "peer-cert-allowed-cn",
		"allowed-hostname":             "peer-cert-allowed-hostname",
		"skip-client-san-verification": "peer-skip-client-san-verification",
	},
	discoverySection: {
		"endpoints": "discovery-endpoints",
		"token":     "discovery-token",
	},
	"socket-options": {
		"reuse-port":    "socket-reuse-port",
		"reuse-address": "socket-reuse-address",
	},
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
