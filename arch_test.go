// Package triglot_test holds the rules of the house: who may import whom, and
// that every package says what it is.
package triglot_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/triglot/triglot"

// pkg is what `go list` says of a package of this module.
type pkg struct {
	ImportPath, Dir, Doc string
	// Imports are those of the package itself; a test may use what it needs.
	Imports []string
}

// rel is the path within the module: "" for its root.
func (p pkg) rel() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func (p pkg) within(folder string) bool {
	return p.rel() == folder || strings.HasPrefix(p.rel(), folder+"/")
}

// rule forbids an import. Where, and what, are given the importing package and
// the import.
type rule struct {
	name, why string
	broken    func(p pkg, imported string) bool
}

// isWire reports whether a package is generated code for services of etcd's that are
// not in its API module: the JSON gateway translates them as it does those.
func isWire(imported string) bool {
	return imported == module+"/frontends/etcdv3/v3electionpb" || imported == module+"/frontends/etcdv3/v3lockpb"
}

func ours(imported, folder string) bool {
	return imported == module+"/"+folder || strings.HasPrefix(imported, module+"/"+folder+"/")
}

func fromModule(imported, path string) bool {
	return imported == path || strings.HasPrefix(imported, path+"/")
}

var rules = []rule{
	{
		name: "root core imports the standard library only",
		why:  "it is what every front end and every test depends on: its cost is everybody's",
		broken: func(p pkg, imported string) bool {
			return p.rel() == "core" && strings.Contains(strings.Split(imported, "/")[0], ".")
		},
	},
	{
		name: "a front end imports of ours only root core and its own packages",
		why: "a front end translates bytes; what it could reach into it would come to depend on, and a new protocol must be a new folder; " +
			"the generated messages of etcd's locks and elections are for the gateway, too, as only etcd's server module has them",
		broken: func(p pkg, imported string) bool {
			if !p.within("frontends") || !fromModule(imported, module) {
				return false
			}
			face := strings.Join(strings.SplitN(p.rel(), "/", 3)[:2], "/")
			allowed := imported == module+"/core" || ours(imported, face) || (face == "frontends/http" && isWire(imported))
			return !allowed
		},
	},
	{
		name: "only cmd imports a front end",
		why:  "the store must not know who speaks to it",
		broken: func(p pkg, imported string) bool {
			return ours(imported, "frontends") && !p.within("cmd") && !p.within("frontends")
		},
	},
	{
		name: "only storage imports Pebble",
		why:  "the engine is a decision that can be changed in one place",
		broken: func(p pkg, imported string) bool {
			return fromModule(imported, "github.com/cockroachdb/pebble/v2") && !p.within("storage")
		},
	},
	{
		name: "only storage/etcdfile imports bbolt",
		why:  "etcd's file is a format to speak, not an engine to rely on",
		broken: func(p pkg, imported string) bool {
			return fromModule(imported, "go.etcd.io/bbolt") && !p.within("storage/etcdfile")
		},
	},
	{
		name: "only core/consensus and storage/raftlog import raft",
		why:  "one package drives raft, one keeps its log; nobody else may depend on its types",
		broken: func(p pkg, imported string) bool {
			return fromModule(imported, "go.etcd.io/raft/v3") && !p.within("core/consensus") && !p.within("storage/raftlog")
		},
	},
	{
		name: "only frontends/etcdv3 and frontends/http import etcd's API",
		why:  "etcd's wire types are one protocol's spelling of the contract",
		broken: func(p pkg, imported string) bool {
			return fromModule(imported, "go.etcd.io/etcd/api/v3") && !p.within("frontends/etcdv3") && !p.within("frontends/http")
		},
	},
	{
		name: "nothing imports etcd's server or its client",
		why:  "the product replaces the first; tests that need the second are in compat-tests",
		broken: func(_ pkg, imported string) bool {
			return fromModule(imported, "go.etcd.io/etcd/server/v3") || fromModule(imported, "go.etcd.io/etcd/client/v3")
		},
	},
	{
		name: "storage imports of core only its nouns",
		why:  "the store of rows knows no rule of any protocol",
		broken: func(p pkg, imported string) bool {
			return p.within("storage") && ours(imported, "core") && imported != module+"/core"
		},
	},
	{
		name: "the state machine has no clock, no randomness and no network",
		why:  "what it decides must follow from the state and the command, or members diverge",
		broken: func(p pkg, imported string) bool {
			return p.within("core/state") && (imported == "math/rand" || imported == "math/rand/v2" ||
				imported == "crypto/rand" || imported == "net" || imported == "os")
		},
	},
	{
		name: "nothing imports cmd",
		why:  "a binary is where things end",
		broken: func(p pkg, imported string) bool {
			return ours(imported, "cmd") && !p.within("cmd")
		},
	},
}

func packages(t *testing.T) []pkg {
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports", "./...").Output()
	require.NoError(t, err)
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.NotEmpty(t, all)
	return all
}

func TestImportRules(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			for _, r := range rules {
				if r.broken(p, imported) {
					t.Errorf("%s imports %s\n\trule: %s\n\twhy:  %s", p.ImportPath, imported, r.name, r.why)
				}
			}
		}
	}
}

// TestRulesCanBreak shows that each rule refuses something.
func TestRulesCanBreak(t *testing.T) {
	violations := map[string][2]string{
		"root core imports the standard library only":                     {"core", "github.com/x/y"},
		"a front end imports of ours only root core and its own packages": {"frontends/zk", module + "/frontends/http"},
		"only cmd imports a front end":                                    {"core/node", module + "/frontends/zk"},
		"only storage imports Pebble":                                     {"core/state", "github.com/cockroachdb/pebble/v2/vfs"},
		"only storage/etcdfile imports bbolt":                             {"core/backup", "go.etcd.io/bbolt"},
		"only core/consensus and storage/raftlog import raft":             {"core/node", "go.etcd.io/raft/v3/raftpb"},
		"only frontends/etcdv3 and frontends/http import etcd's API":      {"core", "go.etcd.io/etcd/api/v3/mvccpb"},
		"nothing imports etcd's server or its client":                     {"frontends/etcdv3", "go.etcd.io/etcd/client/v3"},
		"storage imports of core only its nouns":                          {"storage/mvcc", module + "/core/state"},
		"the state machine has no clock, no randomness and no network":    {"core/state/kv", "math/rand/v2"},
		"nothing imports cmd":                                             {"core/node", module + "/cmd/triglot/config"},
	}
	for _, r := range rules {
		v, ok := violations[r.name]
		require.True(t, ok, "no example breaks the rule %q", r.name)
		require.True(t, r.broken(pkg{ImportPath: module + "/" + v[0]}, v[1]), r.name)
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if p.rel() != "" && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestStateMachineNeverAsksTheTime complements the import rule: package time is
// needed for durations, its clock is not.
func TestStateMachineNeverAsksTheTime(t *testing.T) {
	err := filepath.WalkDir("core/state", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				switch sel.Sel.Name {
				case "Now", "Since", "Until", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc", "Sleep":
					t.Errorf("%s uses time.%s", path, sel.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
}

// topLevel are the folders that hold source.
var topLevel = []string{"core", "storage", "frontends", "cmd", "compat-tests"}

func TestNoOtherSourceFolder(t *testing.T) {
	for _, p := range packages(t) {
		top, _, _ := strings.Cut(p.rel(), "/")
		if top != "" {
			require.Contains(t, topLevel, top, p.ImportPath)
		}
	}
}
