package command

import (
	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

func restoreToPB(c *core.ZnodeRestore) *commandpb.ZnodeRestore {
	m := &commandpb.ZnodeRestore{Id: c.ID, Step: uint32(c.Step), Zxid: int64(c.Zxid)}
	for i := range c.Sessions {
		s := &c.Sessions[i]
		m.Sessions = append(m.Sessions, &commandpb.RestoredSession{Id: int64(s.ID), TimeoutMs: s.Timeout.Milliseconds(), Secret: s.Secret[:]})
	}
	for i := range c.Znodes {
		z := &c.Znodes[i]
		m.Znodes = append(m.Znodes, &commandpb.RestoredZnode{
			Path: []byte(z.Path), Data: z.Data, Null: z.Null, Acl: []byte(z.ACL),
			Kind: uint32(z.Kind), TtlMs: z.TTL.Milliseconds(), Owner: int64(z.Owner),
			Czxid: int64(z.Czxid), Mzxid: int64(z.Mzxid), Pzxid: int64(z.Pzxid), CtimeMs: z.Ctime, MtimeMs: z.Mtime,
			Version: z.Version, Creates: z.Creates, Aversion: z.Aversion,
		})
	}
	return m
}

// decodeRestore decodes a ZnodeRestore. The data alias body, the paths do not.
func decodeRestore(body []byte) (*core.ZnodeRestore, error) {
	var m commandpb.ZnodeRestore
	if err := m.UnmarshalVTUnsafe(body); err != nil {
		return nil, err
	}
	c := &core.ZnodeRestore{ID: m.Id, Step: core.ZnodeRestoreStep(min(m.Step, 1<<8-1)), Zxid: core.Rev(m.Zxid)}
	for _, s := range m.Sessions {
		secret, err := secretFromPB(s.Secret)
		if err != nil {
			return nil, err
		}
		c.Sessions = append(c.Sessions, core.RestoredSession{ID: core.LeaseID(s.Id), Timeout: milliseconds(s.TimeoutMs), Secret: secret})
	}
	for _, z := range m.Znodes {
		c.Znodes = append(c.Znodes, core.RestoredZnode{
			Path: string(z.Path), Data: z.Data, Null: z.Null, ACL: core.ACL(z.Acl),
			RestoredLife: core.RestoredLife{
				Kind: core.ZnodeKind(min(z.Kind, 1<<8-1)), TTL: milliseconds(z.TtlMs), Owner: core.LeaseID(z.Owner),
				Czxid: core.Rev(z.Czxid), Mzxid: core.Rev(z.Mzxid), Pzxid: core.Rev(z.Pzxid), Ctime: z.CtimeMs, Mtime: z.MtimeMs,
				Version: z.Version, Creates: z.Creates, Aversion: z.Aversion,
			},
		})
	}
	return c, nil
}
