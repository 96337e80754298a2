package kv

import (
	"github.com/triglot/triglot/core"
)

const (
	// KeptPrevBytes is how much of the earlier versions of its keys a delete keeps in
	// memory for watches. Of a larger one, those that want them read the history.
	KeptPrevBytes = 16 << 20
	// MaxKeptBytes is how much of them all deletes keep that are committed together.
	MaxKeptBytes = 4 * KeptPrevBytes
	// MaxDeleteBytes is what the deletes of one entry of the log may take, with the
	// earlier versions that their callers ask for: far less than the 4 GiB that the
	// engine takes in one batch, and some millions of keys.
	MaxDeleteBytes = 1 << 30

	// victimOverhead is about what a deleted key takes, in memory and in the batch,
	// besides twice its length.
	victimOverhead = 256
)

// victims are the keys that one operation deletes, by their last versions. When these
// are too many to hold, it goes on with hollow ones: a value of the right length, by
// which sizes are reckoned, and of no content.
type victims struct {
	tx       *Tx
	wantPrev bool

	kvs    []*core.KV
	hollow bool
	bytes  int64 // of the versions
	cost   int64 // of their deletion
	zeros  []byte
}

func (tx *Tx) victims(wantPrev bool) *victims { return &victims{tx: tx, wantPrev: wantPrev} }

// find adds all keys of an interval.
func (v *victims) find(in core.Interval) error {
	if in.Single() {
		kv, err := v.tx.w.Get(in.Key, 0)
		if kv != nil {
			v.add(kv)
		}
		return err
	}
	fits := true
	err := v.tx.w.Scan(in, 0, false, func(kv *core.KV) bool {
		v.add(kv)
		fits = v.fits()
		return fits
	})
	if err == nil && !fits {
		return core.RequestTooLarge
	}
	return err
}

// fits reports whether the deletion is within its limits.
func (v *victims) fits() bool {
	room := int64(MaxDeleteBytes)
	if v.tx.bounds.Room != nil {
		room = *v.tx.bounds.Room
	}
	return v.cost <= room
}

func (v *victims) add(kv *core.KV) {
	v.bytes += int64(kv.Size())
	v.cost += int64(2*len(kv.Key) + victimOverhead)
	if v.wantPrev {
		v.cost += int64(kv.Size())
	}
	if !v.hollow && !v.wantPrev && v.bytes > v.keep() {
		v.hollow = true
		for i := range v.kvs {
			v.kvs[i] = v.hollowed(v.kvs[i])
		}
	}
	if v.hollow {
		kv = v.hollowed(kv)
	}
	v.kvs = append(v.kvs, kv)
}

// keep is how much of the versions may be kept.
func (v *victims) keep() int64 {
	if v.tx.bounds.Keep == nil {
		return KeptPrevBytes
	}
	return min(KeptPrevBytes, *v.tx.bounds.Keep)
}

// hollowed is kv without the content of its value, in memory of its own.
func (v *victims) hollowed(kv *core.KV) *core.KV {
	if n := len(kv.Value); n > len(v.zeros) {
		v.zeros = make([]byte, 2*n)
	}
	out := *kv
	out.Key = append([]byte(nil), kv.Key...)
	out.Value = v.zeros[:len(kv.Value):len(kv.Value)]
	return &out
}
