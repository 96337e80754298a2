package zkoracle

import (
	"fmt"
	"strconv"
	"strings"
)

// aclEntry is one entry of an access control list.
type aclEntry struct {
	perms      int32
	scheme, id string
}

// The ids of digest of those who come with u:p, v:q and super:test.
const (
	digestU     = "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="
	digestV     = "v:Mfy8apI9YguGKmh+AxUmAFSwkII="
	superDigest = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
)

// acls are the lists that have a name. What has none is written as PERMS:SCHEME:ID,
// where PERMS is a number or letters of cdrwa; | joins lists.
var acls = map[string][]aclEntry{
	"open":    {{31, "world", "anyone"}},
	"twice":   {{31, "world", "anyone"}, {31, "world", "anyone"}},
	"parts":   {{15, "world", "anyone"}, {16, "world", "anyone"}},
	"read":    {{1, "world", "anyone"}},
	"creator": {{31, "auth", ""}},
	"u":       {{31, "digest", digestU}},
	"v":       {{31, "digest", digestV}},
	"digest":  {{31, "digest", "u:x"}},
	"ip":      {{31, "ip", "127.0.0.1"}},
	"unknown": {{31, "nosuch", "x"}},
	"nobody":  {{31, "world", "nobody"}},
	"empty":   {},
}

func putACL(b []byte, text string) ([]byte, error) {
	if text == "null" {
		return putInt(b, -1), nil
	}
	entries, err := parseACL(text)
	if err != nil {
		return nil, err
	}
	b = putInt(b, int32(len(entries)))
	for _, e := range entries {
		b = putString(putString(putInt(b, e.perms), e.scheme), e.id)
	}
	return b, nil
}

func parseACL(text string) (entries []aclEntry, err error) {
	for part := range strings.SplitSeq(text, "|") {
		if named, known := acls[part]; known {
			entries = append(entries, named...)
			continue
		}
		words := strings.SplitN(part, ":", 3)
		if len(words) != 3 {
			return nil, fmt.Errorf("no acl is called %q", text)
		}
		e := aclEntry{scheme: words[1], id: words[2]}
		if e.perms, err = perms(words[0]); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func perms(text string) (bits int32, err error) {
	if n, err := strconv.ParseInt(text, 0, 32); err == nil {
		return int32(n), nil
	}
	for _, letter := range text {
		at := strings.IndexRune("rwcda", letter) // in the order of their bits
		if at < 0 {
			return 0, fmt.Errorf("no permission is called %c", letter)
		}
		bits |= 1 << at
	}
	return bits, nil
}
