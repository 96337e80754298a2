package state

import (
	"encoding/binary"
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/keys"
)

// position is how far the state has come. It is one row, written in every batch,
// so that after a crash it says exactly what the batch beside it holds.
type position struct {
	// index and term are those of the last entry applied.
	index, term uint64
	rev         core.Rev
	// clock is the largest time stamp of an entry applied, in milliseconds.
	clock int64
	// keys is the number of keys that there are, or unknown.
	keys int64
	// sameKeys is a revision since which they are the same ones, as far as this process
	// knows: it is not written.
	sameKeys core.Rev
}

// unknown is the number of keys where an early store does not say it: its row ends
// before it.
const unknown = -1

const (
	earlyPositionLen = 4 * 8
	positionLen      = 5 * 8
)

func (p position) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, p.index)
	dst = binary.BigEndian.AppendUint64(dst, p.term)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.rev))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.clock))
	return binary.BigEndian.AppendUint64(dst, uint64(p.keys))
}

func decodePosition(b []byte) (position, error) {
	if len(b) != positionLen && len(b) != earlyPositionLen {
		return position{}, fmt.Errorf("malformed position row %x", b)
	}
	p := position{
		index: binary.BigEndian.Uint64(b),
		term:  binary.BigEndian.Uint64(b[8:]),
		rev:   core.Rev(binary.BigEndian.Uint64(b[16:])),
		clock: int64(binary.BigEndian.Uint64(b[24:])),
		keys:  unknown,
	}
	if len(b) == positionLen {
		p.keys = int64(binary.BigEndian.Uint64(b[earlyPositionLen:]))
	}
	return p, nil
}

// appendRev and decodeRev are the row of the compacted revision, which may be
// negative: nothing was ever compacted.
func appendRev(dst []byte, rev core.Rev) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(rev))
}

func decodeRev(b []byte) (core.Rev, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("malformed revision row %x", b)
	}
	return core.Rev(binary.BigEndian.Uint64(b)), nil
}

func appendUints(dst []byte, values []uint64) []byte {
	for _, v := range values {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

func decodeUints(b []byte) ([]uint64, error) {
	if len(b)%8 != 0 {
		return nil, fmt.Errorf("malformed row of numbers %x", b)
	}
	values := make([]uint64, len(b)/8)
	for i := range values {
		values[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return values, nil
}

// appendAlarms and decodeAlarms are the row of the alarms that stand.
func appendAlarms(dst []byte, alarms []core.Alarm) []byte {
	for _, a := range alarms {
		dst = appendUints(dst, []uint64{uint64(a.Member), uint64(a.Type)})
	}
	return dst
}

func decodeAlarms(b []byte) ([]core.Alarm, error) {
	values, err := decodeUints(b)
	if err != nil || len(values)%2 != 0 {
		return nil, fmt.Errorf("malformed row of alarms %x", b)
	}
	var alarms []core.Alarm
	for i := 0; i < len(values); i += 2 {
		alarms = append(alarms, core.Alarm{Member: core.MemberID(values[i]), Type: core.AlarmType(values[i+1])})
	}
	return alarms, nil
}

// appendMembers and decodeMembers are the row of the members, each with its
// length in front.
func appendMembers(dst []byte, members []core.Member) []byte {
	for i := range members {
		b := command.AppendMember(nil, &members[i])
		dst = binary.AppendUvarint(dst, uint64(len(b)))
		dst = append(dst, b...)
	}
	return dst
}

func decodeMembers(b []byte) ([]core.Member, error) {
	var members []core.Member
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, fmt.Errorf("malformed row of members %x", b)
		}
		m, err := command.DecodeMember(b[n : n+int(size)])
		if err != nil {
			return nil, err
		}
		members = append(members, m)
		b = b[n+int(size):]
	}
	return members, nil
}

// removedVersion is the layout of the row of removed members: their ids, in order.
const removedVersion = 1

func appendRemoved(dst []byte, removed []core.MemberID) []byte {
	dst = append(dst, removedVersion)
	for _, id := range removed {
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	}
	return dst
}

func decodeRemoved(b []byte) ([]core.MemberID, error) {
	if b == nil {
		return nil, nil
	}
	if len(b)%8 != 1 || b[0] != removedVersion {
		return nil, fmt.Errorf("malformed row of removed members %x", b)
	}
	var removed []core.MemberID
	for b = b[1:]; len(b) > 0; b = b[8:] {
		removed = append(removed, core.MemberID(binary.BigEndian.Uint64(b)))
	}
	return removed, nil
}

// row is the engine key of a fact about the whole store.
func row(name keys.Meta) []byte { return keys.AppendMeta(nil, name) }

// DurableIndex is the index that a crash at this moment would leave the state
// at: the log up to it is no longer needed. Safe for concurrent use.
func DurableIndex(db *storage.DB) (uint64, error) {
	return indexOf(db.DurableGet(row(keys.MetaApplied)))
}

// IndexIn is the applied index of a state that is not open as a machine, such as
// a checkpoint.
func IndexIn(r storage.Reader) (uint64, error) { return indexOf(r.Get(row(keys.MetaApplied))) }

// indexOf reads the applied index from its row; zero if there is none.
func indexOf(b []byte, err error) (uint64, error) {
	if err != nil || b == nil {
		return 0, err
	}
	pos, err := decodePosition(b)
	return pos.index, err
}
