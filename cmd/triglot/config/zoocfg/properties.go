package zoocfg

import (
	"errors"
	"strings"
	"unicode/utf16"
)

// Property is a key and its value.
type Property struct{ Key, Value string }

// errMalformed is Java's.
var errMalformed = errors.New(`Malformed \uxxxx encoding.`) //nolint:staticcheck // Java's words

// ParseProperties reads text in the format of java.util.Properties, as a zoo.cfg is in, as
// keys and values in the order of the text; the last of equal keys counts.
func ParseProperties(text string) ([][2]string, error) {
	list, err := parseProperties([]byte(text))
	pairs := make([][2]string, len(list))
	for i, p := range list {
		pairs[i] = [2]string{p.Key, p.Value}
	}
	return pairs, err
}

// parseProperties reads the format of java.util.Properties, in the order of the
// text; the last of equal keys counts. Bytes are characters of ISO 8859-1, as Java
// reads them from a file.
func parseProperties(text []byte) ([]Property, error) {
	var list []Property
	r := lineReader{rest: text}
	for {
		line, ok := r.next()
		if !ok {
			return list, nil
		}
		key, value := splitLine(line)
		k, err := unescape(key)
		if err != nil {
			return nil, err
		}
		v, err := unescape(value)
		if err != nil {
			return nil, err
		}
		list = append(list, Property{k, v})
	}
}

// lineReader joins natural lines to logical ones: without those that are blank or
// comments, and without what surrounds a backslash at the end of a line.
type lineReader struct{ rest []byte }

func (r *lineReader) next() (line []byte, ok bool) {
	for len(r.rest) > 0 {
		natural, last := r.natural()
		natural = trimLeft(natural)
		if len(line) == 0 && (len(natural) == 0 || natural[0] == '#' || natural[0] == '!') {
			continue // also behind a backslash alone: Java looks at what it has so far
		}
		if !endsInBackslash(natural) {
			return append(line, natural...), true
		}
		line = append(line, natural[:len(natural)-1]...)
		if last {
			return line, true // even if the backslash is all there is, as in Java
		}
	}
	return line, len(line) > 0
}

// natural takes the next line of the text, without its end. Nothing follows the last.
func (r *lineReader) natural() (line []byte, last bool) {
	i := 0
	for i < len(r.rest) && r.rest[i] != '\n' && r.rest[i] != '\r' {
		i++
	}
	line, last = r.rest[:i], i+1 >= len(r.rest)
	if i+1 < len(r.rest) && r.rest[i] == '\r' && r.rest[i+1] == '\n' {
		i++
	}
	r.rest = r.rest[min(i+1, len(r.rest)):]
	return line, last
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

func trimLeft(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

// endsInBackslash reports whether the last character is a backslash that no other
// one escapes.
func endsInBackslash(line []byte) bool {
	odd := false
	for i := len(line) - 1; i >= 0 && line[i] == '\\'; i-- {
		odd = !odd
	}
	return odd
}

// splitLine divides at the first =, : or blank that is not escaped; blanks and one
// = or : behind the key belong to neither.
func splitLine(line []byte) (key, value []byte) {
	i := 0
	for escaped := false; i < len(line); i++ {
		c := line[i]
		if !escaped && (c == '=' || c == ':' || isSpace(c)) {
			break
		}
		escaped = c == '\\' && !escaped
	}
	key, value = line[:i], trimLeft(line[i:])
	if len(value) > 0 && (value[0] == '=' || value[0] == ':') {
		value = trimLeft(value[1:])
	}
	return key, value
}

// unescape reads the escapes of a key or a value.
func unescape(b []byte) (string, error) {
	units := make([]uint16, 0, len(b)) // Java's characters
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			units = append(units, uint16(c))
			continue
		}
		i++
		switch c = b[i]; c {
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'n':
			c = '\n'
		case 'f':
			c = '\f'
		case 'u':
			if i+4 >= len(b) {
				return "", errMalformed
			}
			unit, err := hex(b[i+1 : i+5])
			if err != nil {
				return "", err
			}
			units = append(units, unit)
			i += 4
			continue
		}
		units = append(units, uint16(c))
	}
	return string(utf16.Decode(units)), nil
}

func hex(digits []byte) (unit uint16, err error) {
	for _, d := range digits {
		switch {
		case '0' <= d && d <= '9':
			d -= '0'
		case 'a' <= d && d <= 'f':
			d -= 'a' - 10
		case 'A' <= d && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, errMalformed
		}
		unit = unit<<4 | uint16(d)
	}
	return unit, nil
}

// trim takes away what String.trim does: everything up to the blank at either end.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

// withoutSecrets writes *** for the values of keys that are secrets, and leaves out the
// comments in front of them, and others that name one: it may be a line of before.
func withoutSecrets(text []byte) string {
	var b strings.Builder
	r := lineReader{rest: text}
	for len(r.rest) > 0 {
		before := r.rest
		line, ok := r.next()
		key, _ := splitLine(line)
		name, err := unescape(key)
		if ok && (err != nil || isSecret(name)) {
			b.WriteString(string(key) + "=***\n")
			continue
		}
		for natural := range strings.SplitAfterSeq(string(before[:len(before)-len(r.rest)]), "\n") {
			comment := strings.TrimLeft(natural, " \t\f")
			if comment == "" || comment[0] != '#' && comment[0] != '!' || !isSecret(comment) {
				b.WriteString(natural)
			}
		}
	}
	return b.String()
}

func isSecret(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "password") || strings.Contains(name, "digest")
}
