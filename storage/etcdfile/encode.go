package etcdfile

import (
	"encoding/binary"
	"encoding/json"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the fields of etcd's messages.
const (
	// mvccpb.KeyValue
	fieldKVKey       = 1
	fieldKVCreateRev = 2
	fieldKVModRev    = 3
	fieldKVVersion   = 4
	fieldKVValue     = 5
	fieldKVLease     = 6
	// leasepb.Lease
	fieldLeaseID        = 1
	fieldLeaseTTL       = 2
	fieldLeaseRemaining = 3
	// etcdserverpb.AlarmMember
	fieldAlarmMember = 1
	fieldAlarmType   = 2
	// authpb.User and UserAddOptions
	fieldUserName       = 1
	fieldUserPassword   = 2
	fieldUserRoles      = 3
	fieldUserOptions    = 4
	fieldUserNoPassword = 1
	// authpb.Role and Permission
	fieldRoleName        = 1
	fieldRolePermissions = 2
	fieldPermissionType  = 1
	fieldPermissionKey   = 2
	fieldPermissionEnd   = 3
)

// A revision key is the revision, '_', the sub-revision, and 't' if it is that of a
// tombstone.
const (
	revisionLen       = 8 + 1 + 8
	revisionSeparator = '_'
	revisionTombstone = 't'
)

func appendRevision(dst []byte, main, sub int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(main))
	dst = append(dst, revisionSeparator)
	return binary.BigEndian.AppendUint64(dst, uint64(sub))
}

// AppendRevisionKey appends v's key in the bucket key.
func (v *Version) AppendRevisionKey(dst []byte) []byte {
	dst = appendRevision(dst, v.Main, v.Sub)
	if v.Tombstone {
		dst = append(dst, revisionTombstone)
	}
	return dst
}

// AppendKeyValue appends v as an mvccpb.KeyValue. That of a tombstone has its key
// alone.
func (v *Version) AppendKeyValue(dst []byte) []byte {
	dst = appendBytes(dst, fieldKVKey, v.Key)
	if v.Tombstone {
		return dst
	}
	dst = appendInt(dst, fieldKVCreateRev, v.CreateRev)
	dst = appendInt(dst, fieldKVModRev, v.Main)
	dst = appendInt(dst, fieldKVVersion, v.Version)
	dst = appendBytes(dst, fieldKVValue, v.Value)
	return appendInt(dst, fieldKVLease, v.Lease)
}

func (l *Lease) appendRow(dst []byte) []byte {
	dst = appendInt(dst, fieldLeaseID, l.ID)
	dst = appendInt(dst, fieldLeaseTTL, l.TTL)
	return appendInt(dst, fieldLeaseRemaining, l.RemainingTTL)
}

func (a *Alarm) appendRow(dst []byte) []byte {
	dst = appendInt(dst, fieldAlarmMember, int64(a.Member))
	return appendInt(dst, fieldAlarmType, int64(a.Type))
}

func (u *User) appendRow(dst []byte) []byte {
	dst = appendBytes(dst, fieldUserName, []byte(u.Name))
	dst = appendBytes(dst, fieldUserPassword, u.Password)
	for _, role := range u.Roles {
		dst = protowire.AppendTag(dst, fieldUserRoles, protowire.BytesType)
		dst = protowire.AppendString(dst, role)
	}
	var options []byte
	if u.NoPassword {
		options = appendInt(nil, fieldUserNoPassword, 1)
	}
	dst = protowire.AppendTag(dst, fieldUserOptions, protowire.BytesType)
	return protowire.AppendBytes(dst, options)
}

func (r *Role) appendRow(dst []byte) []byte {
	dst = appendBytes(dst, fieldRoleName, []byte(r.Name))
	for i := range r.Permissions {
		p := &r.Permissions[i]
		b := appendInt(nil, fieldPermissionType, int64(p.Type))
		b = appendBytes(b, fieldPermissionKey, p.Key)
		b = appendBytes(b, fieldPermissionEnd, p.RangeEnd)
		dst = protowire.AppendTag(dst, fieldRolePermissions, protowire.BytesType)
		dst = protowire.AppendBytes(dst, b)
	}
	return dst
}

// downgradeRow is the JSON of the row downgrade.
type downgradeRow struct {
	TargetVersion string `json:"target-version"`
	Enabled       bool   `json:"enabled"`
}

func (c *Cluster) downgradeRow() []byte {
	return mustJSON(downgradeRow{TargetVersion: c.Downgrade, Enabled: c.Downgrade != ""})
}

func memberKey(id uint64) []byte { return strconv.AppendUint(nil, id, 16) }

// mustJSON is for types of this package, which always have a JSON form.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("etcdfile: " + err.Error())
	}
	return b
}

// appendInt and appendBytes append a field, unless it is zero: proto3 leaves that
// out.
func appendInt(dst []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}

func appendBytes(dst []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendBytes(dst, v)
}
