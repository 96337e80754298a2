package state

import (
	"errors"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// Head is what a state says of itself.
type Head struct {
	// Index and Term are those of the last entry that was applied.
	Index, Term uint64
	Cluster     uint64
	Members     []core.Member
}

// HeadOf reads the head of a state that is not opened as a Machine's.
func HeadOf(r storage.Reader) (Head, error) {
	read := func(name keys.Meta) ([]byte, error) {
		b, err := r.Get(row(name))
		if err == nil && b == nil {
			err = fmt.Errorf("state: row %q is missing", name)
		}
		return b, err
	}
	applied, err1 := read(keys.MetaApplied)
	identity, err2 := read(keys.MetaIdentity)
	members, err3 := read(keys.MetaMembers)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Head{}, err
	}
	pos, err1 := decodePosition(applied)
	ids, err2 := decodeUints(identity)
	all, err3 := decodeMembers(members)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Head{}, fmt.Errorf("state: %w", err)
	}
	if len(ids) == 0 {
		return Head{}, fmt.Errorf("state: malformed identity row %x", identity)
	}
	return Head{Index: pos.index, Term: pos.term, Cluster: ids[0], Members: all}, nil
}
