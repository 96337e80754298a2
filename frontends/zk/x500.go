package zk

import (
	"encoding/asn1"
	"encoding/hex"
	"strings"
)

// validName says whether s is a distinguished name to Java's X500Principal, which is
// what ZooKeeper 3.9 takes for the id of an x509 entry
// (X509AuthenticationProvider.isValid): names of RFC 2253 or RFC 1779, in which a
// semicolon and spaces around separators are allowed. The empty name is one.
func validName(s string) bool {
	if s == "" {
		return true
	}
	for {
		keyword, rest, ok := strings.Cut(s, "=")
		if !ok || !validKeyword(strings.TrimSpace(keyword)) {
			return false
		}
		if s, ok = cutValue(rest); !ok {
			return false
		}
		if s == "" {
			return true
		}
		s = s[1:] // the separator
	}
}

// nameKeywords are the attributes that Java knows by name.
var nameKeywords = map[string]bool{
	"CN": true, "C": true, "L": true, "S": true, "ST": true, "O": true, "OU": true, "T": true, "IP": true,
	"STREET": true, "DC": true, "DNQUALIFIER": true, "DNQ": true, "SURNAME": true, "GIVENNAME": true,
	"INITIALS": true, "GENERATION": true, "EMAIL": true, "EMAILADDRESS": true, "UID": true, "SERIALNUMBER": true,
}

// validKeyword says whether k names an attribute: by a keyword, or by the numbers of an
// object identifier.
func validKeyword(k string) bool {
	k = strings.ToUpper(k)
	if nameKeywords[k] {
		return true
	}
	numbers := strings.Split(strings.TrimPrefix(k, "OID."), ".")
	for _, number := range numbers {
		if number == "" || strings.Trim(number, "0123456789") != "" {
			return false
		}
	}
	return len(numbers) > 1 && (numbers[0] == "0" || numbers[0] == "1" || numbers[0] == "2")
}

// cutValue takes an attribute's value off the front of s, and returns what follows:
// nothing, or a separator and more.
func cutValue(s string) (rest string, ok bool) {
	s = strings.TrimLeft(s, " \n")
	switch {
	case strings.HasPrefix(s, `"`):
		return cutQuoted(s[1:])
	case strings.HasPrefix(s, "#"):
		return cutHex(s[1:])
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			n := escaped(s[i+1:])
			if n == 0 {
				return "", false
			}
			i += n
		case ',', ';', '+':
			return s[i:], i+1 < len(s)
		case '"', '<', '>':
			return "", false
		}
	}
	return "", true
}

// escaped is the number of bytes at the beginning of s that a backslash in front of it
// escapes: a character that has a meaning, or two hexadecimal digits. It is 0 for others.
func escaped(s string) int {
	switch {
	case s != "" && strings.IndexByte(",=\n+<>#;\\\" ", s[0]) >= 0:
		return 1
	case len(s) >= 2 && isHex(s[:2]):
		return 2
	}
	return 0
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdefABCDEF") == "" }

// cutHex is cutValue of a value in hexadecimal DER, behind the number sign.
func cutHex(s string) (rest string, ok bool) {
	end := strings.IndexAny(s, ",;+")
	if end < 0 {
		end = len(s)
	}
	digits := strings.TrimRight(s[:end], " \n")
	der, err := hex.DecodeString(digits)
	if err != nil {
		return "", false
	}
	var value asn1.RawValue
	if behind, err := asn1.Unmarshal(der, &value); err != nil || len(behind) > 0 {
		return "", false
	}
	return s[end:], end == len(s) || end+1 < len(s)
}

// cutQuoted is cutValue of a value in quotes, behind the first.
func cutQuoted(s string) (rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			rest = strings.TrimLeft(s[i+1:], " \n")
			if rest == "" {
				return "", true
			}
			return rest, strings.ContainsRune(",;+", rune(rest[0])) && len(rest) > 1
		}
	}
	return "", false
}
