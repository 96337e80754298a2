package jaas

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// kind says what a token is.
type kind uint8

const (
	end    kind = iota
	word        // bare or in quotes
	symbol      // any other character
)

// token is a word, or one character that is none.
type token struct {
	kind kind
	text string
	line int
}

// String is the token in an error. What was in quotes may be a password.
func (t token) String() string {
	switch t.kind {
	case end:
		return "the end of the file"
	case word:
		return "a word"
	case symbol:
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer cuts a login file into tokens, as Java's ConfigFile has its StreamTokenizer do.
type lexer struct {
	name string
	rest string
	line int
}

func (l *lexer) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", l.name, line, fmt.Sprintf(format, args...))
}

// next takes the next token.
func (l *lexer) next() (token, error) {
	if err := l.skip(); err != nil {
		return token{}, err
	}
	if l.rest == "" {
		return token{kind: end, line: l.line}, nil
	}
	switch c := l.rest[0]; {
	case c == '"':
		return l.quoted()
	case c >= '0' && c <= '9', c == '.':
		return token{}, l.errorf(l.line, "a word begins with %q: put it in quotes", c)
	case wordByte(c):
		n := strings.IndexFunc(l.rest, func(r rune) bool { return r < utf8.RuneSelf && !wordByte(byte(r)) })
		if n < 0 {
			n = len(l.rest)
		}
		return token{word, l.take(n), l.line}, nil
	default:
		return token{symbol, l.take(1), l.line}, nil
	}
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf || strings.IndexByte("._-$*", c) >= 0
}

func (l *lexer) take(n int) string {
	text := l.rest[:n]
	l.rest = l.rest[n:]
	return text
}

// skip passes over white space and comments.
func (l *lexer) skip() error {
	for {
		trimmed := strings.TrimLeftFunc(l.rest, func(r rune) bool { return r <= ' ' })
		l.pass(len(l.rest) - len(trimmed))
		switch {
		case strings.HasPrefix(l.rest, "/*"):
			n := strings.Index(l.rest[2:], "*/")
			if n < 0 {
				return l.errorf(l.line, "a comment is not closed")
			}
			l.pass(n + 4)
		case strings.HasPrefix(l.rest, "/"): // one slash is enough for Java
			n := strings.IndexByte(l.rest, '\n')
			if n < 0 {
				n = len(l.rest)
			}
			l.pass(n)
		default:
			return nil
		}
	}
}

// pass drops n bytes and counts their lines.
func (l *lexer) pass(n int) { l.line += strings.Count(l.take(n), "\n") }

// quoted takes a word in quotes, with the escapes of Java.
func (l *lexer) quoted() (token, error) {
	var b strings.Builder
	for i := 1; i < len(l.rest); i++ {
		switch c := l.rest[i]; c {
		case '"':
			l.rest = l.rest[i+1:]
			return token{word, b.String(), l.line}, nil
		case '\n', '\r':
			return token{}, l.errorf(l.line, "a quote is not closed")
		case '\\':
			r, n := unescape(l.rest[i+1:])
			b.WriteString(r)
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return token{}, l.errorf(l.line, "a quote is not closed")
}

// unescape is what follows a backslash, and its length. Octal numbers are characters;
// a letter without a meaning stands for itself.
func unescape(s string) (text string, n int) {
	octal, limit := 0, 2
	if s != "" && s[0] <= '3' {
		limit = 3
	}
	for n < len(s) && n < limit && s[n] >= '0' && s[n] <= '7' {
		octal = octal*8 + int(s[n]-'0')
		n++
	}
	switch {
	case n > 0:
		return string(rune(octal)), n
	case s == "" || s[0] == '\n' || s[0] == '\r':
		return "", 0 // the quote is not closed
	}
	if i := strings.IndexByte("abfnrtv", s[0]); i >= 0 {
		return "\a\b\f\n\r\t\v"[i : i+1], 1
	}
	return s[:1], 1
}
