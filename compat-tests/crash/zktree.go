package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// znode is what the ledger keeps of a znode.
type znode struct {
	value   string
	version int32
	// owner is the session of an ephemeral, 0 of any other.
	owner int64
	// creates is how many children it has ever had: a sequential child's number.
	creates int32
	// mzxid is when it was last written; 0 where no answer has told.
	mzxid int64
}

func (z znode) String() string {
	return fmt.Sprintf("%q version %d mzxid %d, owner %x, %d creates", z.value, z.version, z.mzxid, z.owner, z.creates)
}

// tree is znodes by path. Only one client writes those of a tree, one request at a
// time, so what they must be is known exactly.
type tree map[string]znode

// change is one write. Its path is without the number if sequential.
type change struct {
	kind       changeKind
	path       string
	value      string
	sequential bool
	owner      int64 // of an ephemeral that is created
}

type changeKind uint8

const (
	changeCreate changeKind = iota
	changeSet
	changeDelete
)

func parent(path string) string { return path[:strings.LastIndexByte(path, '/')] }

// name is the path of a change once it is done to t.
func (t tree) name(c change) string {
	if !c.sequential {
		return c.path
	}
	return fmt.Sprintf("%s%010d", c.path, t[parent(c.path)].creates)
}

// after is t after the changes of one request, which succeeds.
func (t tree) after(changes ...change) tree {
	next := maps.Clone(t)
	for _, c := range changes {
		path := next.name(c)
		switch c.kind {
		case changeCreate:
			if above, ours := next[parent(path)]; ours {
				above.creates++
				next[parent(path)] = above
			}
			next[path] = znode{value: c.value, owner: c.owner}
		case changeSet:
			z := next[path]
			next[path] = znode{value: c.value, version: z.version + 1, owner: z.owner, creates: z.creates}
		case changeDelete:
			delete(next, path)
		}
	}
	return next
}

// children are the paths directly below one, sorted.
func (t tree) children(path string) []string {
	var below []string
	for p := range t {
		if strings.HasPrefix(p, path+"/") && parent(p) == path {
			below = append(below, p)
		}
	}
	slices.Sort(below)
	return below
}

// diff says how a server's znodes differ from what t says they must be.
func (t tree) diff(actual tree) []string {
	var differences []string
	for _, path := range slices.Sorted(maps.Keys(t)) {
		want, got := t[path], actual[path]
		if _, found := actual[path]; !found {
			differences = append(differences, fmt.Sprintf("%s is missing; it must be %v", path, want))
			continue
		}
		if want.mzxid == 0 {
			want.mzxid = got.mzxid
		}
		if got != want {
			differences = append(differences, fmt.Sprintf("%s is %v; it must be %v", path, got, want))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(actual)) {
		if _, found := t[path]; !found {
			differences = append(differences, fmt.Sprintf("%s is %v; it must not exist", path, actual[path]))
		}
	}
	return differences
}

// judge compares a server's znodes with what they must be: as before the request
// whose answer never came, or as after it. Nothing in between is allowed.
func judge(sure, maybe, actual tree) error {
	without := sure.diff(actual)
	if len(without) == 0 {
		return nil
	}
	if maybe == nil {
		return fmt.Errorf("%s", strings.Join(without, "; "))
	}
	with := maybe.diff(actual)
	if len(with) == 0 {
		return nil
	}
	return fmt.Errorf("neither without the unanswered request (%s), nor with it (%s)",
		strings.Join(without, "; "), strings.Join(with, "; "))
}
