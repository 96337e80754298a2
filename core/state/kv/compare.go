package kv

import (
	"bytes"
	"cmp"

	"github.com/triglot/triglot/core"
)

// holdAll evaluates the guards of a transaction on the newest versions.
func holdAll(r Reader, compares []core.Compare) (bool, error) {
	for i := range compares {
		ok, err := holds(r, &compares[i])
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func holds(r Reader, c *core.Compare) (bool, error) {
	found, ok := false, true
	check := func(kv *core.KV) bool {
		found = true
		ok = compare(kv, c)
		return ok
	}
	if c.Single() {
		kv, err := r.Get(c.Key, 0)
		if err != nil {
			return false, err
		}
		if kv != nil {
			check(kv)
		}
	} else if err := r.Scan(c.Interval, 0, c.Target != core.CompareValue && c.Target != core.CompareLease, check); err != nil {
		return false, err
	}
	if !found {
		return c.Target != core.CompareValue && compare(&core.KV{}, c), nil
	}
	return ok, nil
}

func compare(kv *core.KV, c *core.Compare) bool {
	var sign int
	switch c.Target {
	case core.CompareVersion:
		sign = cmp.Compare(kv.Version, c.Number)
	case core.CompareCreateRev:
		sign = cmp.Compare(int64(kv.CreateRev), c.Number)
	case core.CompareModRev:
		sign = cmp.Compare(int64(kv.ModRev), c.Number)
	case core.CompareValue:
		sign = bytes.Compare(kv.Value, c.Value)
	case core.CompareLease:
		sign = cmp.Compare(int64(kv.Lease), c.Number)
	}
	switch c.Result {
	case core.CompareEqual:
		return sign == 0
	case core.CompareNotEqual:
		return sign != 0
	case core.CompareGreater:
		return sign > 0
	case core.CompareLess:
		return sign < 0
	}
	return true // as etcd does with a relation that it does not know
}
