package zkoracle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// token is a word of a command. A quoted one is a value, never a keyword.
type token struct {
	text   string
	quoted bool
}

// tokens splits a command into words. A word is bare, or quoted as in Go; name="x"
// is name= with the unquoted value behind it.
func tokens(line string) ([]token, error) {
	var all []token
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		end := strings.IndexAny(rest, " \"")
		switch {
		case end < 0:
			return append(all, token{text: rest}), nil
		case rest[end] == ' ':
			all = append(all, token{text: rest[:end]})
			rest = rest[end:]
		default:
			quoted, err := strconv.QuotedPrefix(rest[end:])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", rest, err)
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			all = append(all, token{text: rest[:end] + value, quoted: end == 0})
			rest = rest[end+len(quoted):]
		}
	}
	return all, nil
}

// split cuts a command at a bare word.
func split(all []token, at string) [][]token {
	parts := [][]token{nil}
	for _, t := range all {
		if t.text == at && !t.quoted {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], t)
	}
	return parts
}

// args are the words behind a verb, taken one after the other. The first error
// sticks.
type args struct {
	rest []token
	err  error
}

func (a *args) fail(format string, values ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, values...)
	}
}

// word takes the next word.
func (a *args) word() string {
	if len(a.rest) == 0 {
		a.fail("a word is missing")
		return ""
	}
	t := a.rest[0]
	a.rest = a.rest[1:]
	return t.text
}

// flag takes the bare word if it is anywhere in what is left.
func (a *args) flag(name string) bool {
	for i, t := range a.rest {
		if t.text == name && !t.quoted {
			a.rest = append(append([]token{}, a.rest[:i]...), a.rest[i+1:]...)
			return true
		}
	}
	return false
}

// option takes name=value from anywhere in what is left.
func (a *args) option(name string) (string, bool) {
	for i, t := range a.rest {
		if value, found := strings.CutPrefix(t.text, name+"="); found && !t.quoted {
			a.rest = append(append([]token{}, a.rest[:i]...), a.rest[i+1:]...)
			return value, true
		}
	}
	return "", false
}

// number takes an optional name=N.
func (a *args) number(name string, otherwise int64) int64 {
	text, found := a.option(name)
	if !found {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		a.fail("%s: %w", name, err)
	}
	return n
}

// list takes an optional name=a,b,c.
func (a *args) list(name string) []string {
	text, found := a.option(name)
	if !found || text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// int takes the next word, which is a number.
func (a *args) int() int32 {
	n, err := strconv.ParseInt(a.word(), 0, 32)
	if err != nil {
		a.fail("%w", err)
	}
	return int32(n)
}

// data takes the next word if it is data: "text", null or fill=N. Without one the
// data is empty.
func (a *args) data() []byte {
	if n := a.number("fill", -1); n >= 0 {
		return []byte(strings.Repeat("x", int(n)))
	}
	switch {
	case len(a.rest) == 0:
		return []byte{}
	case a.rest[0].quoted:
		return append([]byte{}, a.word()...)
	case a.rest[0].text == "null":
		a.word()
		return nil
	default:
		return []byte{}
	}
}

// hex takes all that is left as hexadecimal digits; N*XX is XX, N times.
func (a *args) hex() []byte {
	var all []byte
	for len(a.rest) > 0 {
		text, times := a.word(), 1
		if count, digits, found := strings.Cut(text, "*"); found {
			n, err := strconv.Atoi(count)
			if err != nil {
				a.fail("%w", err)
				return nil
			}
			text, times = digits, n
		}
		b, err := hex.DecodeString(text)
		if err != nil {
			a.fail("%w", err)
			return nil
		}
		for range times {
			all = append(all, b...)
		}
	}
	return all
}

// done checks that every word was used.
func (a *args) done() error {
	if a.err == nil && len(a.rest) > 0 {
		return errors.New("what is this: " + a.rest[0].text)
	}
	return a.err
}
