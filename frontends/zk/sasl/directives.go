package sasl

import (
	"bytes"
	"strings"
)

// directives are what an answer may say, by its name in lower case. What has another
// name is passed over.
type directives map[string][]byte

// known are the names that may come once.
var known = map[string]bool{
	"username": true, "realm": true, "nonce": true, "cnonce": true, "qop": true, "digest-uri": true,
	"response": true, "maxbuf": true, "charset": true, "cipher": true, "authzid": true,
}

// parser takes directives off the front of what is left of an answer: name=value or
// name="value", with commas or white space between them (RFC 2831, 7.1, and what Java
// makes of it).
type parser struct {
	rest []byte
	seen directives
}

func parseDirectives(answer []byte) (directives, error) {
	p := parser{rest: answer, seen: directives{}}
	for {
		p.rest = bytes.TrimLeft(p.rest, " \t\r\n,")
		if len(p.rest) == 0 {
			return p.seen, nil
		}
		if err := p.directive(); err != nil {
			return nil, err
		}
	}
}

// directive takes one. A name at the very end needs no value.
func (p *parser) directive() error {
	end := bytes.IndexAny(p.rest, "=, \t\r\n")
	if end < 0 {
		p.rest = nil
		return nil
	}
	name := strings.ToLower(string(p.rest[:end]))
	p.rest = bytes.TrimLeft(p.rest[end:], " \t\r\n")
	if name == "" || len(p.rest) == 0 || p.rest[0] != '=' {
		return errFormat
	}
	p.rest = bytes.TrimLeft(p.rest[1:], " \t\r\n")
	if len(p.rest) == 0 {
		return errFormat
	}
	value, err := p.value()
	if err != nil || !known[name] {
		return err
	}
	if _, twice := p.seen[name]; twice {
		return errFormat
	}
	p.seen[name] = value
	return nil
}

func (p *parser) value() ([]byte, error) {
	if p.rest[0] == '"' {
		return p.quoted()
	}
	end := bytes.IndexAny(p.rest, ", \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	value := p.rest[:end]
	p.rest = p.rest[end:]
	return value, nil
}

// quoted takes a quoted value, in which a backslash stands before what is meant as it
// is. A comma, white space or the end must follow.
func (p *parser) quoted() ([]byte, error) {
	value := []byte{}
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			if i++; i == len(p.rest) {
				return nil, errFormat
			}
			value = append(value, p.rest[i])
		case '"':
			p.rest = p.rest[i+1:]
			if len(p.rest) > 0 && !strings.ContainsRune(", \t\r\n", rune(p.rest[0])) {
				return nil, errFormat
			}
			return value, nil
		default:
			value = append(value, p.rest[i])
		}
	}
	return nil, errFormat
}
