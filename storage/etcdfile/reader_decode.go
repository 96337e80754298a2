package etcdfile

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
)

// decodeRevisionKey splits the key of a version; ok is false if it is none.
func decodeRevisionKey(b []byte) (main, sub int64, tombstone, ok bool) {
	switch {
	case len(b) == revisionLen+1 && b[revisionLen] == revisionTombstone:
		tombstone = true
	case len(b) != revisionLen:
		return 0, 0, false, false
	}
	if b[8] != revisionSeparator {
		return 0, 0, false, false
	}
	main, sub = int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[9:]))
	return main, sub, tombstone, main > 0 && sub >= 0
}

// decodeVersion reads a row of the bucket key. What v holds aliases it. A row
// without a key marks a revision that nothing was written in.
func decodeVersion(key, value []byte) (v Version, ok bool) {
	if v.Main, v.Sub, v.Tombstone, ok = decodeRevisionKey(key); !ok {
		return v, false
	}
	modRev := v.Main
	ok = eachField(value, func(num int, n uint64, b []byte) {
		switch num {
		case fieldKVKey:
			v.Key = b
		case fieldKVCreateRev:
			v.CreateRev = int64(n)
		case fieldKVModRev:
			modRev = int64(n)
		case fieldKVVersion:
			v.Version = int64(n)
		case fieldKVValue:
			v.Value = b
		case fieldKVLease:
			v.Lease = int64(n)
		}
	})
	if !ok || v.Tombstone || len(v.Key) == 0 {
		return v, ok
	}
	return v, modRev == v.Main && v.Version > 0 && v.CreateRev > 0 && v.CreateRev <= v.Main
}

func decodeLease(key, value []byte) (l Lease, ok bool) {
	ok = eachField(value, func(num int, n uint64, _ []byte) {
		switch num {
		case fieldLeaseID:
			l.ID = int64(n)
		case fieldLeaseTTL:
			l.TTL = int64(n)
		case fieldLeaseRemaining:
			l.RemainingTTL = int64(n)
		}
	})
	return l, ok && len(key) == 8 && int64(binary.BigEndian.Uint64(key)) == l.ID && l.ID != 0
}

func decodeAlarm(key []byte) (a Alarm, ok bool) {
	ok = eachField(key, func(num int, n uint64, _ []byte) {
		switch num {
		case fieldAlarmMember:
			a.Member = n
		case fieldAlarmType:
			a.Type = int32(min(n, math.MaxInt32))
		}
	})
	return a, ok
}

func decodeUser(key, value []byte) (u User, ok bool) {
	inner := true
	ok = eachField(value, func(num int, _ uint64, b []byte) {
		switch num {
		case fieldUserName:
			u.Name = string(b)
		case fieldUserPassword:
			u.Password = append([]byte(nil), b...)
		case fieldUserRoles:
			u.Roles = append(u.Roles, string(b))
		case fieldUserOptions:
			inner = eachField(b, func(num int, n uint64, _ []byte) {
				if num == fieldUserNoPassword {
					u.NoPassword = n != 0
				}
			}) && inner
		}
	})
	return u, ok && inner && u.Name != "" && u.Name == string(key)
}

func decodeRole(key, value []byte) (r Role, ok bool) {
	inner := true
	ok = eachField(value, func(num int, _ uint64, b []byte) {
		switch num {
		case fieldRoleName:
			r.Name = string(b)
		case fieldRolePermissions:
			p, good := decodePermission(b)
			r.Permissions = append(r.Permissions, p)
			inner = inner && good
		}
	})
	return r, ok && inner && r.Name != "" && r.Name == string(key)
}

func decodePermission(b []byte) (p Permission, ok bool) {
	ok = eachField(b, func(num int, n uint64, b []byte) {
		switch num {
		case fieldPermissionType:
			p.Type = int32(min(n, math.MaxInt32))
		case fieldPermissionKey:
			p.Key = append([]byte(nil), b...)
		case fieldPermissionEnd:
			p.RangeEnd = append([]byte(nil), b...)
		}
	})
	return p, ok && p.Type <= 2
}

func decodeMember(key, value []byte) (m Member, ok bool) {
	id, err := strconv.ParseUint(string(key), 16, 64)
	if err != nil || json.Unmarshal(value, &m) != nil {
		return m, false
	}
	m.ID = id
	return m, true
}

// number reads a row of eight bytes into n, if the name is the one meant.
func number(value []byte, n *uint64) bool {
	if len(value) != 8 {
		return false
	}
	*n = binary.BigEndian.Uint64(value)
	return true
}

// set reads a row of the bucket meta. Rows of other names are of another version of
// etcd.
func (m *Meta) set(name string, value []byte) bool {
	compaction := func(rev *int64) bool {
		main, _, _, ok := decodeRevisionKey(value)
		*rev = main
		return ok
	}
	switch name {
	case metaConsistentIndex:
		return number(value, &m.Index)
	case metaTerm:
		return number(value, &m.Term)
	case metaConfState:
		return json.Unmarshal(value, &m.ConfState) == nil
	case metaStorageVersion:
		m.StorageVersion = string(value)
	case metaScheduledCompact:
		return compaction(&m.ScheduledCompact)
	case metaFinishedCompact:
		return compaction(&m.FinishedCompact)
	}
	return true
}

// set reads a row of the bucket cluster.
func (c *Cluster) set(name string, value []byte) bool {
	switch name {
	case clusterVersion:
		c.Version = string(value)
	case clusterDowngrade:
		var row downgradeRow
		if json.Unmarshal(value, &row) != nil {
			return false
		}
		if row.Enabled {
			c.Downgrade = row.TargetVersion
		}
	}
	return true
}

// set reads a row of the bucket auth.
func (a *Auth) set(name string, value []byte) bool {
	switch name {
	case authEnabled:
		a.Enabled = len(value) == 1 && value[0] == 1
	case authRevision:
		return number(value, &a.Revision)
	}
	return true
}
