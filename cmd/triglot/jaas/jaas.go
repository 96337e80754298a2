package jaas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// DefaultSection is the section of ZooKeeper's servers (zookeeper.sasl.serverconfig).
	DefaultSection = "Server"
	// digestModule is the one module that is taken; its options user_NAME="PASSWORD"
	// are the users.
	digestModule = "org.apache.zookeeper.server.auth.DigestLoginModule"
	userPrefix   = "user_"
	// maxFile bounds the length of a file in bytes.
	maxFile = 1 << 20
)

// Load reads a file: one that ends in .yaml or .yml as YAML, and any other as a login
// configuration of which section counts. The users are nil if there is no such section,
// and then, as with ZooKeeper, nobody can log in.
func Load(path, section string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("%s: it is longer than %d bytes", path, maxFile)
	}
	switch filepath.Ext(path) {
	case ".yaml", ".yml":
		return ParseYAML(path, text)
	}
	return Parse(path, text, section)
}

// ParseYAML reads users: a mapping of names to passwords under the key users. name is
// the file's, for errors.
func ParseYAML(name string, text []byte) (map[string]string, error) {
	var file struct {
		Users map[string]string `yaml:"users"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, yamlError(name, err)
	}
	if file.Users == nil {
		return nil, fmt.Errorf("%s: there is no users: {NAME: PASSWORD} in it", name)
	}
	for user := range file.Users {
		if user == "" {
			return nil, fmt.Errorf("%s: a user has no name", name)
		}
	}
	return file.Users, nil
}

// yamlError leaves out what the decoder quotes of the file: the lines are enough.
func yamlError(name string, err error) error {
	var mistakes *yaml.TypeError
	text := err.Error()
	if errors.As(err, &mistakes) && len(mistakes.Errors) > 0 {
		text = mistakes.Errors[0]
	}
	if line, _, ok := strings.Cut(strings.TrimPrefix(text, "yaml: "), ":"); ok && strings.HasPrefix(line, "line ") {
		return fmt.Errorf("%s: %s: this is not users: {NAME: PASSWORD}, each name once, in quotes if it is a number", name, line)
	}
	return fmt.Errorf("%s: this is not YAML with users: {NAME: PASSWORD} in it", name)
}

// parser reads a login file: sections of modules of options (Java's
// javax.security.auth.login.Configuration).
type parser struct {
	lexer
	now token
}

// module is one module of a section.
type module struct {
	class   string
	options map[string]string
	line    int
}

// Parse reads a login configuration. name is the file's, for errors; a section that
// comes twice is one.
func Parse(name string, text []byte, section string) (map[string]string, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s: it is not UTF-8", name)
	}
	p := &parser{lexer: lexer{name: name, rest: strings.TrimPrefix(string(text), "\ufeff"), line: 1}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	sections := map[string][]module{}
	for p.now.kind != end {
		line := p.now.line
		title, err := p.word("the name of a section")
		if err != nil {
			return nil, err
		}
		if _, twice := sections[title]; twice {
			return nil, p.errorf(line, "section %q comes twice", title)
		}
		if sections[title], err = p.section(); err != nil {
			return nil, err
		}
	}
	if len(sections[section]) == 0 {
		return nil, nil
	}
	return p.users(section, sections[section])
}

// users are those of the modules of the section that counts.
func (p *parser) users(section string, modules []module) (map[string]string, error) {
	users := map[string]string{}
	for _, m := range modules {
		if m.class != digestModule {
			return nil, p.errorf(m.line, "section %q asks for %s, of which there is none here: only %s is", section, m.class, digestModule)
		}
		for key, value := range m.options {
			user, ok := strings.CutPrefix(key, userPrefix)
			switch {
			case !ok:
				continue
			case user == "":
				return nil, p.errorf(m.line, "a user has no name: an option is %s", key)
			case strings.Contains(value, "${"):
				return nil, p.errorf(m.line, "the value of %s has a ${property} of Java's, which are not known here", key)
			}
			users[user] = value
		}
	}
	return users, nil
}

func (p *parser) advance() (err error) {
	p.now, err = p.next()
	return err
}

func (p *parser) word(what string) (string, error) {
	if p.now.kind != word {
		return "", p.errorf(p.now.line, "expected %s, found %v", what, p.now)
	}
	text := p.now.text
	return text, p.advance()
}

func (p *parser) is(text string) bool { return p.now.kind == symbol && p.now.text == text }

func (p *parser) expect(text string) error {
	if !p.is(text) {
		return p.errorf(p.now.line, "expected %q, found %v", text, p.now)
	}
	return p.advance()
}

// section reads { MODULE ... };
func (p *parser) section() ([]module, error) {
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	modules := []module{}
	for !p.is("}") {
		m, err := p.module()
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	if err := p.expect("}"); err != nil {
		return nil, err
	}
	return modules, p.expect(";")
}

// module reads CLASS FLAG KEY=VALUE ... ;
func (p *parser) module() (m module, err error) {
	m.line, m.options = p.now.line, map[string]string{}
	if m.class, err = p.word("the class of a module"); err != nil {
		return m, err
	}
	line := p.now.line
	flag, err := p.word("a flag (required, requisite, sufficient or optional)")
	if err != nil {
		return m, err
	}
	switch strings.ToLower(flag) {
	case "required", "requisite", "sufficient", "optional":
	default:
		return m, p.errorf(line, "the flag of %s is none of required, requisite, sufficient and optional", m.class)
	}
	for !p.is(";") {
		if err := p.option(m.options); err != nil {
			return m, err
		}
	}
	return m, p.expect(";")
}

func (p *parser) option(options map[string]string) error {
	key, err := p.word("an option or \";\"")
	if err != nil {
		return err
	}
	if err := p.expect("="); err != nil {
		return err
	}
	options[key], err = p.word("the value of " + key)
	return err
}
