package crash

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// maxGroupKeys bounds the keys of a group: transactions touch keys of one group
// only, so that each group has a history of its own. A group of one key is the
// usual partition by key.
const maxGroupKeys = 3

// stepKind is what a step of a request does.
type stepKind uint8

const (
	stepGet stepKind = iota
	stepPut
	stepDelete
)

// step is one operation of a request on one key of the group. Put values are
// unique in the whole history and not empty.
type step struct {
	kind  stepKind
	key   int
	value string
}

// guard compares a key's value; an empty value demands that the key is absent.
type guard struct {
	key   int
	value string
}

// request is a transaction on a group; one without a guard takes the first
// branch. A plain put, get or delete is a transaction of one step.
type request struct {
	group           int
	guards          []guard
	then, otherwise []step // the second if a guard does not hold
}

// answer is what the client was told. An answer that never came is unknown: the
// request was done once, within its interval, or not at all.
type answer struct {
	unknown bool
	// taken says that every guard held.
	taken bool
	// rev is the revision of the header: of a write its own.
	rev int64
	// read has one element for each step of the branch: of a get the row, of a
	// delete the number of keys in deleted.
	read []readResult
}

// answerUnknown is the answer that never came.
var answerUnknown = answer{unknown: true}

type readResult struct {
	row     Row // zero: the key is absent
	deleted int64
}

// groupState is the sequential state of a group. It is a value: states are
// compared with ==.
type groupState struct {
	rows [maxGroupKeys]Row
	// newest is the highest revision that the group's requests have shown. A later
	// write must have a higher one.
	newest int64
}

// unknownRev marks a row written by a request whose answer never came, until a
// get shows its revision.
const unknownRev = -1

// Model is etcd's rules for get, put, delete and transactions, with revisions,
// as porcupine wants them: a request is a step of its group's state.
//
// A request of unknown outcome has two next states: done and not done. So it may
// end like any other, which the recorder uses: what a killed server has not done
// by the time it serves again, it must never do.
func Model() porcupine.Model {
	nondeterministic := &porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			groups := map[int][]porcupine.Operation{}
			for _, o := range history {
				group := o.Input.(request).group
				groups[group] = append(groups[group], o)
			}
			var partitions [][]porcupine.Operation
			for _, operations := range groups {
				partitions = append(partitions, operations)
			}
			return partitions
		},
		Init: func() []any { return []any{groupState{}} },
		Step: func(state, input, output any) []any {
			var next []any
			for _, s := range state.(groupState).next(input.(request), output.(answer)) {
				next = append(next, s)
			}
			return next
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%v -> %v", input.(request), output.(answer))
		},
		DescribeState: func(state any) string { return fmt.Sprint(state.(groupState).rows) },
	}
	return nondeterministic.ToModel()
}

// next returns the states that the request can lead to if it was answered so.
func (s groupState) next(r request, a answer) []groupState {
	taken := true
	for _, g := range r.guards {
		taken = taken && s.rows[g.key].Value == g.value
	}
	branch := r.branch(taken)
	if a.unknown {
		done := s
		for _, step := range branch {
			done.write(step, unknownRev)
		}
		if done == s {
			return []groupState{s}
		}
		return []groupState{s, done}
	}
	if a.taken != taken || len(a.read) != len(branch) {
		return nil
	}
	done, wrote := s, false
	for i, step := range branch {
		switch step.kind {
		case stepGet:
			if !done.show(step.key, a.read[i].row) {
				return nil
			}
		case stepPut:
			wrote = true
		case stepDelete:
			deleted := int64(0)
			if done.rows[step.key].Value != "" {
				deleted, wrote = 1, true
			}
			if a.read[i].deleted != deleted {
				return nil
			}
		}
		done.write(step, a.rev)
	}
	// A write takes a new revision; a read shows one that is not older than
	// what the group has shown.
	if wrote && a.rev <= s.newest || a.rev < s.newest {
		return nil
	}
	done.newest = max(a.rev, done.newest)
	return []groupState{done}
}

// write applies a step that changes a key.
func (s *groupState) write(step step, rev int64) {
	switch step.kind {
	case stepPut:
		s.rows[step.key] = Row{Value: step.value, ModRev: rev}
	case stepDelete:
		s.rows[step.key] = Row{}
	case stepGet:
	}
}

// show compares a key with what a get has shown, and learns the revision of a
// row if only the get tells it.
func (s *groupState) show(key int, shown Row) bool {
	if row := s.rows[key]; row.ModRev == unknownRev && row.Value == shown.Value && shown.ModRev > 0 {
		s.rows[key].ModRev = shown.ModRev
	}
	return s.rows[key] == shown
}

// branch is what runs if the guards hold, or else.
func (r request) branch(taken bool) []step {
	if taken {
		return r.then
	}
	return r.otherwise
}

func (r request) String() string {
	var text strings.Builder
	for _, g := range r.guards {
		fmt.Fprintf(&text, "if %d=%q ", g.key, g.value)
	}
	fmt.Fprint(&text, r.then)
	if len(r.guards) > 0 {
		fmt.Fprintf(&text, " else %v", r.otherwise)
	}
	return text.String()
}

func (s step) String() string {
	switch s.kind {
	case stepPut:
		return fmt.Sprintf("put %d=%s", s.key, s.value)
	case stepDelete:
		return fmt.Sprintf("delete %d", s.key)
	default:
		return fmt.Sprintf("get %d", s.key)
	}
}

func (a answer) String() string {
	if a.unknown {
		return "unknown"
	}
	return fmt.Sprintf("%v at %d %v", a.taken, a.rev, a.read)
}

// reused returns a revision that two acknowledged writes of the history share,
// or 0: the model looks at one group at a time and cannot see it.
func reused(history []porcupine.Operation) int64 {
	var revs []int64
	for _, o := range history {
		r, a := o.Input.(request), o.Output.(answer)
		if !a.unknown && r.wrote(a) {
			revs = append(revs, a.rev)
		}
	}
	slices.Sort(revs)
	for i := 1; i < len(revs); i++ {
		if revs[i] == revs[i-1] {
			return revs[i]
		}
	}
	return 0
}

// wrote says whether an answered request changed anything.
func (r request) wrote(a answer) bool {
	for i, step := range r.branch(a.taken) {
		if step.kind == stepPut || step.kind == stepDelete && a.read[i].deleted > 0 {
			return true
		}
	}
	return false
}
