package member

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Version is a version of etcd without its patch: what etcd keeps as the version of a
// cluster.
type Version struct{ Major, Minor int64 }

// String is the version with a patch of zero, such as "3.6.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d.0", v.Major, v.Minor) }

// suffix is what a pre-release or metadata may consist of.
var suffix = regexp.MustCompile(`^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*$`)

// ParseVersion reads a version as etcd reads the target of a downgrade: a semantic
// version, of which patch, pre-release and metadata do not count, or a major and a
// minor version.
func ParseVersion(text string) (v Version, ok bool) {
	if v, ok = parseSemver(text); !ok {
		v, ok = parseSemver(text + ".0")
	}
	return v, ok
}

func parseSemver(text string) (Version, bool) {
	text, metadata, _ := strings.Cut(text, "+")
	text, pre, _ := strings.Cut(text, "-")
	parts := strings.SplitN(text, ".", 3)
	if len(parts) != 3 || (metadata != "" && !suffix.MatchString(metadata)) || (pre != "" && !suffix.MatchString(pre)) {
		return Version{}, false
	}
	var numbers [3]int64
	for i, part := range parts {
		var err error
		if numbers[i], err = strconv.ParseInt(part, 10, 64); err != nil {
			return Version{}, false
		}
	}
	return Version{numbers[0], numbers[1]}, true
}
