package zoocfg

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// System are the system properties of the Java virtual machine that a ZooKeeper would
// run in. The zero value is none. Values may be secrets.
type System struct{ values map[string]string }

func (s System) clone() System { return System{maps.Clone(s.values)} }

// Set gives a property its value, which wins over an earlier one.
func (s *System) Set(name, value string) {
	if s.values == nil {
		s.values = make(map[string]string)
	}
	s.values[name] = value
}

// Define reads what stands behind -D: name=value, or a name alone, whose value is
// empty.
func (s *System) Define(text string) {
	name, value, _ := strings.Cut(text, "=")
	s.Set(name, value)
}

func (s System) sorted() []string { return slices.Sorted(maps.Keys(s.values)) }

// get returns the value under the first of the names that has one.
func (s System) get(names ...string) (value string, ok bool) {
	for _, name := range names {
		if value, ok = s.values[name]; ok {
			return value, true
		}
	}
	return "", false
}

// Text returns a property of ZooKeeper's, named without its prefix; empty if it is
// not given.
func (s System) Text(name string) string {
	value, _ := s.get(names(name)...)
	return value
}

// Has reports whether a property of ZooKeeper's is given.
func (s System) Has(name string) bool {
	_, ok := s.get(names(name)...)
	return ok
}

// Is is Java's Boolean.getBoolean of a property: true only if the value is that word.
func (s System) Is(name string) bool { return strings.EqualFold(s.Text(name), "true") }

// Number is Java's Integer.getInteger: the default if there is none, or no number.
func (s System) Number(name string, fallback int) int {
	return parseJavaInt(s.Text(name), fallback)
}

func parseJavaInt(text string, fallback int) int {
	if strings.ContainsRune(text, '_') { // Go's
		return fallback
	}
	n, err := strconv.ParseInt(text, 0, 32)
	if err != nil {
		return fallback
	}
	return int(n)
}

// List are the values of a property and of its numbered ones: of superUser,
// superUser.1 and so on; of authProvider., all that begin so. They are in the order of
// their names.
func (s System) List(name string) []string {
	var list []string
	for _, n := range s.sorted() {
		rest, ok := strings.CutPrefix(n, "zookeeper."+name)
		if ok && (rest == "" || strings.HasSuffix(name, ".") || rest[0] == '.') {
			list = append(list, s.values[n])
		}
	}
	return list
}

// bare are the properties that ZooKeeper reads without its prefix. They can be given
// to it as properties only; zoo.cfg would set one with the prefix, at which nobody
// looks. Here either will do: there is no doubt what was wanted.
var bare = []string{
	"jute.maxbuffer", "readonlymode.enabled", "java.security.auth.login.config",
	"znode.container.checkIntervalMs", "znode.container.maxPerMinute", "znode.container.maxNeverUsedIntervalMs",
}

func names(name string) []string {
	if slices.Contains(bare, name) {
		return []string{name, "zookeeper." + name}
	}
	return []string{"zookeeper." + name}
}

// TakeFlags takes the properties out of arguments of java. Others are passed over: a
// heap's size means nothing here.
func (s *System) TakeFlags(args []string) {
	for _, arg := range args {
		if definition, ok := strings.CutPrefix(arg, "-D"); ok {
			s.Define(definition)
		}
	}
}

// TakeEnvironment takes the properties that zkServer.sh would give to java: of
// SERVER_JVMFLAGS, then of JVMFLAGS, divided at blanks as the shell does.
func (s *System) TakeEnvironment(environ []string) {
	value := func(name string) (value string) {
		for _, entry := range environ {
			if v, ok := strings.CutPrefix(entry, name+"="); ok {
				value = v
			}
		}
		return value
	}
	if value("ZOO_DATADIR_AUTOCREATE_DISABLE") != "" {
		s.Set("zookeeper.datadir.autocreate", "false")
	}
	for _, name := range []string{"SERVER_JVMFLAGS", "JVMFLAGS"} {
		s.TakeFlags(strings.Fields(value(name)))
	}
}

// Own are the names of the properties that begin with ZooKeeper's prefix and the given
// one, without both, sorted.
func (s System) Own(prefix string) []string {
	var list []string
	for _, n := range s.sorted() {
		if rest, ok := strings.CutPrefix(n, "zookeeper."+prefix); ok {
			list = append(list, rest)
		}
	}
	return list
}
