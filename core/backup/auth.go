package backup

import "github.com/triglot/triglot/storage/etcdfile"

// writeAuth writes users and roles. Passwords are hashes there as here.
func (e *exporter) writeAuth() error {
	accounts := e.view.Accounts()
	if err := e.w.Auth(&etcdfile.Auth{Enabled: accounts.Enabled(), Revision: accounts.Rev()}); err != nil {
		return err
	}
	for _, name := range accounts.Users() {
		u, _ := accounts.User(name)
		row := etcdfile.User{Name: name, Password: u.Hash, Roles: u.Roles, NoPassword: u.NoPassword}
		if err := e.w.User(&row); err != nil {
			return err
		}
	}
	for _, name := range accounts.Roles() {
		r, _ := accounts.Role(name)
		row := etcdfile.Role{Name: name}
		for _, p := range r.Permissions {
			row.Permissions = append(row.Permissions, etcdfile.Permission{Type: int32(p.Type), Key: p.Key, RangeEnd: p.End})
		}
		if err := e.w.Role(&row); err != nil {
			return err
		}
	}
	return nil
}
