package crash

import (
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// at makes an operation that lasts from one moment to another.
func at(call, end int64, r request, a answer) porcupine.Operation {
	if !a.unknown && len(a.read) == 0 {
		a.read = make([]readResult, max(len(r.then), 1))
	}
	if len(r.guards) == 0 {
		a.taken = true
	}
	return porcupine.Operation{Input: r, Output: a, Call: call, Return: end}
}

func putOf(key int, value string) request {
	return request{then: []step{{kind: stepPut, key: key, value: value}}}
}
func deleteOf(key int) request { return request{then: []step{{kind: stepDelete, key: key}}} }
func getOf(key int) request    { return request{then: []step{{kind: stepGet, key: key}}} }
func pairOf(value string) request {
	return request{then: []step{{kind: stepPut, key: 0, value: value}, {kind: stepPut, key: 1, value: value}}}
}

func swapOf(old, value string) request {
	return request{
		guards: []guard{{0, old}}, then: []step{{kind: stepPut, key: 0, value: value}},
		otherwise: []step{{kind: stepGet, key: 0}},
	}
}

func rev(n int64) answer { return answer{rev: n} }
func row(n int64, value string, modRev int64) answer {
	return answer{rev: n, read: []readResult{{row: Row{value, modRev}}}}
}

func deleted(n, keys int64) answer {
	return answer{rev: n, read: []readResult{{deleted: keys}}}
}

func TestModelAcceptsWhatIsRight(t *testing.T) {
	for name, history := range map[string][]porcupine.Operation{
		"a get of a missing key": {at(1, 2, getOf(0), row(1, "", 0))},
		"overlapping puts in the order of their revisions": {
			at(1, 9, putOf(0, "a"), rev(3)), at(2, 8, putOf(0, "b"), rev(2)), at(10, 11, getOf(0), row(3, "a", 3)),
		},
		"a deletion, and one of nothing": {
			at(1, 2, putOf(0, "a"), rev(2)), at(3, 4, deleteOf(0), deleted(3, 1)),
			at(5, 6, deleteOf(0), deleted(3, 0)), at(7, 8, getOf(0), row(3, "", 0)),
		},
		"one of two swaps": {
			at(1, 2, putOf(0, "a"), rev(2)),
			at(3, 9, swapOf("a", "b"), answer{taken: true, rev: 3}),
			at(3, 9, swapOf("a", "c"), row(3, "b", 3)),
		},
		"a write without an answer, done": {
			at(1, 5, putOf(0, "a"), answerUnknown), at(6, 7, getOf(0), row(2, "a", 2)), at(8, 9, getOf(0), row(4, "a", 2)),
		},
		"a write without an answer, not done": {
			at(1, 5, putOf(0, "a"), answerUnknown), at(6, 7, getOf(0), row(1, "", 0)),
		},
		"a write without an answer, done while others wrote": {
			at(1, 9, pairOf("u"), answerUnknown), at(2, 3, putOf(0, "a"), rev(2)),
			at(10, 11, getOf(0), row(3, "u", 3)), at(12, 13, getOf(1), row(3, "u", 3)),
		},
		"groups that know nothing of each other": {
			at(1, 2, putOf(0, "a"), rev(9)),
			at(3, 4, request{group: 1, then: getOf(0).then}, row(2, "", 0)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, porcupine.CheckOperations(Model(), history))
			require.Zero(t, reused(history))
		})
	}
}

func TestModelRejectsWhatIsBroken(t *testing.T) {
	for name, history := range map[string][]porcupine.Operation{
		"a stale read": {
			at(1, 2, putOf(0, "a"), rev(2)), at(3, 4, putOf(0, "b"), rev(3)), at(5, 6, getOf(0), row(3, "a", 2)),
		},
		"an acknowledged write is lost": {
			at(1, 2, putOf(0, "a"), rev(2)), at(3, 4, getOf(0), row(2, "", 0)),
		},
		"a deleted key is back": {
			at(1, 2, putOf(0, "a"), rev(2)), at(3, 4, deleteOf(0), deleted(3, 1)), at(5, 6, getOf(0), row(3, "a", 2)),
		},
		"a torn transaction": {
			at(1, 2, pairOf("a"), rev(2)), at(3, 4, pairOf("b"), rev(3)),
			at(5, 6, getOf(0), row(3, "b", 3)), at(7, 8, getOf(1), row(3, "a", 2)),
		},
		"a torn transaction without an answer": {
			at(1, 4, pairOf("a"), answerUnknown), at(5, 6, getOf(0), row(2, "a", 2)), at(7, 8, getOf(1), row(2, "", 0)),
		},
		"both of two swaps": {
			at(1, 2, putOf(0, "a"), rev(2)),
			at(3, 9, swapOf("a", "b"), answer{taken: true, rev: 3}),
			at(3, 9, swapOf("a", "c"), answer{taken: true, rev: 4}),
		},
		"neither of two swaps": {
			at(1, 2, putOf(0, "a"), rev(2)), at(3, 9, swapOf("a", "b"), row(2, "a", 2)),
		},
		"a write without an answer that is done too late": {
			at(1, 5, putOf(0, "a"), answerUnknown), at(6, 7, getOf(0), row(1, "", 0)), at(8, 9, getOf(0), row(2, "a", 2)),
		},
		"a write without an answer that is undone": {
			at(1, 9, putOf(0, "a"), answerUnknown), at(2, 3, getOf(0), row(2, "a", 2)), at(10, 11, getOf(0), row(2, "", 0)),
		},
		"a row that changes its revision": {
			at(1, 5, putOf(0, "a"), answerUnknown), at(6, 7, getOf(0), row(2, "a", 2)), at(8, 9, getOf(0), row(3, "a", 3)),
		},
		"a revision that goes back": {
			at(1, 2, putOf(0, "a"), rev(5)), at(3, 4, putOf(0, "b"), rev(4)),
		},
		"a read at a revision that goes back": {
			at(1, 2, putOf(0, "a"), rev(5)), at(3, 4, getOf(1), row(4, "", 0)),
		},
		"a value that nobody wrote": {at(1, 2, getOf(0), row(2, "a", 2))},
		"a deletion of more than there is": {
			at(1, 2, deleteOf(0), deleted(2, 1)),
		},
		"a branch that was not to be taken": {
			at(1, 2, swapOf("a", "b"), answer{taken: true, rev: 2}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.False(t, porcupine.CheckOperations(Model(), history))
		})
	}
}

func TestARevisionOfTwoGroupsIsReused(t *testing.T) {
	other := request{group: 1, then: putOf(0, "b").then}
	history := []porcupine.Operation{at(1, 2, putOf(0, "a"), rev(2)), at(3, 4, other, rev(2))}
	require.Equal(t, int64(2), reused(history))
	history = []porcupine.Operation{at(1, 2, putOf(0, "a"), rev(2)), at(3, 4, getOf(0), row(2, "a", 2))}
	require.Zero(t, reused(history), "a read takes no revision")
}
