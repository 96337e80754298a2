package znode

import (
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/triglot/triglot/core"
)

// The znodes that every store has: the root, and ZooKeeper's own (ZooKeeper 3.9
// DataTree, S5). They cannot be deleted.
const (
	rootPath   = "/"
	systemPath = "/zookeeper"
	quotaPath  = "/zookeeper/quota"
	configPath = "/zookeeper/config"
)

// isFixed reports whether a path is that of a znode that always exists.
func isFixed(path string) bool {
	switch path {
	case rootPath, systemPath, quotaPath, configPath:
		return true
	}
	return false
}

// The longest and the deepest path, and the most that the two may come to, one
// times the other: a put of a key makes a znode of each of its ancestors, and a
// transaction of a megabyte, which has many, must not cost hundreds. ZooKeeper knows
// no such limit but that of a request.
const (
	maxPathLen      = 32 << 10
	maxPathDepth    = 256
	maxPathLenDepth = 256 << 10
)

// Legal reports whether path is one that a znode can have (ZooKeeper PathUtils).
// ZooKeeper looks at UTF-16 units, so that nothing outside the Basic Multilingual
// Plane is legal.
func Legal(path string) bool {
	if path == rootPath {
		return true
	}
	if path == "" || path[0] != '/' || len(path) > maxPathLen {
		return false
	}
	depth := 0
	for rest := path; rest != ""; depth++ {
		name := rest[1:] // rest begins with a slash
		if i := strings.IndexByte(name, '/'); i >= 0 {
			name = name[:i]
		}
		if !legalName(name) {
			return false
		}
		rest = rest[1+len(name):]
	}
	return depth <= maxPathDepth && depth*len(path) <= maxPathLenDepth
}

func legalName(name string) bool {
	switch name {
	case "", ".", "..":
		return false
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= utf8.RuneSelf:
			return legalRunes(name[i:])
		case c < ' ' || c == 0x7f:
			return false
		}
	}
	return true
}

func legalRunes(s string) bool {
	for _, r := range s { // U+FFFD, which is not legal, for what is no UTF-8
		switch {
		case r < ' ', r >= 0x7f && r <= 0x9f, r >= 0xd800 && r <= 0xf8ff, r >= 0xfff0:
			return false
		}
	}
	return true
}

// parentOf is the path of the parent of the znode at path, which is not the root
// and has a slash. It need not be legal.
func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return rootPath
}

// Mount is the prefix of the keys that are znodes: a legal path other than the
// root's, or empty for the whole key space.
type Mount string

// ParseMount checks a prefix.
func ParseMount(prefix string) (Mount, error) {
	if prefix != "" && (prefix == rootPath || !Legal(prefix)) {
		return "", fmt.Errorf("znode: %q is no prefix for znodes: it must be empty, or a legal path other than /", prefix)
	}
	return Mount(prefix), nil
}

// appendKey appends the key of the znode at a legal path.
func (m Mount) appendKey(dst []byte, path string) []byte {
	dst = append(dst, m...)
	return append(dst, path...)
}

// inside is the path in the key of a znode's version, which never changes. Steps and
// outcomes have it from there: the path of an operation goes with the command.
func (m Mount) inside(key []byte) string {
	path := key[len(m):]
	return unsafe.String(unsafe.SliceData(path), len(path))
}

// Key is the key of the znode at a path. The empty path is the root's; one that is not
// legal has a key that is no znode's.
func (m Mount) Key(path string) []byte {
	if path == "" {
		path = rootPath
	}
	return m.appendKey(nil, path)
}

// Below are the keys of all that is below the znode at a path.
func (m Mount) Below(path string) core.Interval {
	if path == rootPath {
		path = ""
	}
	key := m.appendKey(nil, path)
	return core.Interval{Key: append(key[:len(key):len(key)], '/'), End: append(key[:len(key):len(key)], '/'+1)}
}

// Numbered are the keys that a sequential create at a path can make: what follows is a
// number, which may be negative.
func (m Mount) Numbered(path string) core.Interval {
	key := m.appendKey(nil, path)
	return core.Interval{Key: append(key[:len(key):len(key)], '-'), End: append(key[:len(key):len(key)], '9'+1)}
}

// covers reports whether a key lies below the mount, be it a znode's or opaque.
func (m Mount) covers(key []byte) bool {
	return len(key) > len(m) && key[len(m)] == '/' && string(key[:len(m)]) == string(m)
}

// path returns the path of the znode whose key it is; ok is false if it is none's.
func (m Mount) path(key []byte) (path string, ok bool) {
	if !m.covers(key) || len(key)-len(m) > maxPathLen {
		return "", false
	}
	path = string(key[len(m):])
	// ZooKeeper's configuration is not for everybody to write, nor what is below it.
	if strings.HasPrefix(path, configPath) && (len(path) == len(configPath) || path[len(configPath)] == '/') {
		return "", false
	}
	return path, Legal(path)
}
