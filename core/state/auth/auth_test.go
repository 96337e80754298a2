package auth

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// memRows is rows in a map.
type memRows map[string][]byte

func (m memRows) SetRow(key, value []byte) { m[string(key)] = bytes.Clone(value) }
func (m memRows) DeleteRow(key []byte)     { delete(m, string(key)) }

func (m memRows) ScanRows(lower, upper []byte, fn func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if key >= string(lower) && key < string(upper) && !fn([]byte(key), m[key]) {
			break
		}
	}
	return nil
}

var (
	drawUser = rapid.SampledFrom([]string{"root", "u", "v", ""})
	drawRole = rapid.SampledFrom([]string{"root", "r", "s", ""})
)

func drawCommand(t *rapid.T) core.Command {
	user, role := drawUser.Draw(t, "user"), drawRole.Draw(t, "role")
	hash := []byte(rapid.SampledFrom([]string{"", "h", "i"}).Draw(t, "hash"))
	switch rapid.IntRange(0, 12).Draw(t, "command") {
	case 0:
		return &core.AuthEnable{}
	case 1:
		return &core.AuthDisable{}
	case 2, 3:
		return &core.UserAdd{Name: user, Hash: hash, NoPassword: rapid.Bool().Draw(t, "no password")}
	case 4:
		return &core.UserDelete{Name: user}
	case 5:
		return &core.UserChangePassword{Name: user, Hash: hash}
	case 6, 7:
		return &core.UserGrantRole{User: user, Role: role}
	case 8:
		return &core.UserRevokeRole{User: user, Role: role}
	case 9:
		return &core.RoleAdd{Name: role}
	case 10:
		return &core.RoleDelete{Name: role}
	case 11:
		return &core.RoleRevokePermission{Role: role, Interval: drawInterval(t, "revoked")}
	default:
		kind := core.PermissionType(rapid.IntRange(0, 3).Draw(t, "type"))
		return &core.RoleGrantPermission{Role: role, Permission: core.Permission{Type: kind, Interval: drawInterval(t, "granted")}}
	}
}

// TestApply: a state that came to be by commands is the one that its rows give; a
// command leaves the state before it as it was; a revision is taken if and only if
// something changed; and root can always be reached.
func TestApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, rows := Empty(), memRows{}
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			before, rowsBefore := fmt.Sprint(show(s)), maps.Clone(rows)
			next, err := s.Apply(drawCommand(t), rows)
			require.Equal(t, before, show(s))
			if err != nil {
				require.Same(t, s, next)
				require.Equal(t, rowsBefore, rows)
				var kind core.Kind
				require.ErrorAs(t, err, &kind)
			}
			require.LessOrEqual(t, next.Rev()-s.Rev(), uint64(1))
			require.Equal(t, next != s, next.Rev() != s.Rev() || next.Enabled() != s.Enabled())
			s = next
			loaded, err := Load(rows)
			require.NoError(t, err)
			require.Equal(t, show(s), show(loaded))
			if s.Enabled() {
				require.NoError(t, s.Admin(core.Principal{User: core.RootUser}))
			}
		}
		again := memRows{}
		var users []User
		for _, name := range s.Users() {
			u, _ := s.User(name)
			users = append(users, u)
		}
		var roles []core.Role
		for _, name := range s.Roles() {
			r, _ := s.Role(name)
			roles = append(roles, r)
		}
		Restore(again, s.Enabled(), s.Rev(), users, roles)
		loaded, err := Load(again)
		require.NoError(t, err)
		require.Equal(t, show(s), show(loaded))
	})
}

func show(s *State) string {
	var out bytes.Buffer
	fmt.Fprintln(&out, s.enabled, s.rev)
	for _, name := range s.Users() {
		a := s.users[name]
		fmt.Fprintf(&out, "%q %q %t %q root %t read %q write %q\n", name, a.Hash, a.NoPassword, a.Roles, a.root, a.read, a.write)
	}
	for _, name := range s.Roles() {
		r, _ := s.Role(name)
		fmt.Fprintf(&out, "%q", name)
		for _, p := range r.Permissions {
			fmt.Fprintf(&out, " %d %q %q", p.Type, p.Key, p.End)
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

// TestRowsGolden pins the rows down: they are on disks.
func TestRowsGolden(t *testing.T) {
	rows := memRows{}
	Restore(rows, true, 300,
		[]User{{User: core.User{Name: "u", Roles: []string{"r", "root"}}, Hash: []byte("hash")}, {User: core.User{Name: "v", NoPassword: true}}},
		[]core.Role{{Name: "r", Permissions: []core.Permission{
			{Type: core.PermitReadWrite, Interval: core.Interval{Key: []byte("k"), End: core.FromKey}},
			{Type: core.PermitRead, Interval: core.Interval{Key: []byte("l")}},
		}}})
	got := map[string]string{}
	for key, value := range rows {
		got[key] = hex.EncodeToString(value)
	}
	require.Equal(t, map[string]string{
		"as\x00":       "0101ac02",
		"au" + "u\x00": "010004" + hex.EncodeToString([]byte("hash")) + "02" + "0172" + "04726f6f74",
		"au" + "v\x00": "01010000",
		"ar" + "r\x00": "0102" + "02" + "016b" + "0100" + "00" + "016c" + "00",
	}, got)
}

func TestLoadRefusesNonsense(t *testing.T) {
	user := keys.AppendAuth(nil, keys.AuthUser, "u")
	for _, c := range []struct {
		key []byte
		row string
	}{
		{[]byte("ax\x00"), "01"},
		{user, ""},
		{user, "02000000"},
		{user, "01"},
		{user, "01020000"},
		{user, "010000"},
		{user, "01000000ff"},
		{user, "010005aa00"},
		{user, "01000001"},
		{user, "010000ffffffffffffffffff01"},
		{keys.AppendAuth(nil, keys.AuthRole, "r"), "010100"},
		{keys.AppendAuth(nil, keys.AuthSwitch, ""), "0102"},
	} {
		value, err := hex.DecodeString(c.row)
		require.NoError(t, err)
		_, err = Load(memRows{string(c.key): value})
		require.Error(t, err, "row %q", c.row)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(byte(1), []byte("\x01\x00\x04hash\x01\x01r"))
	f.Add(byte(2), []byte("\x01\x01\x02\x01k\x00"))
	f.Add(byte(0), []byte("\x01\x01\x05"))
	f.Fuzz(func(t *testing.T, kind byte, row []byte) {
		key := keys.AppendAuth(nil, keys.AuthKind(kind%3), map[bool]string{true: "", false: "n"}[kind%3 == 0])
		s, err := Load(memRows{string(key): row})
		if err != nil {
			return
		}
		require.NotEmpty(t, show(s))
	})
}
