package command

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command/commandpb"
)

// The commands about members that came with clusters of several.
const (
	fieldMemberAdd     protowire.Number = 33
	fieldMemberRemove  protowire.Number = 34
	fieldMemberPromote protowire.Number = 35
	fieldHashMark      protowire.Number = 36
	fieldSetEnsemble   protowire.Number = 37
)

// memberFrame is what stands for a command of this file; zero if it is none.
func memberFrame(c core.Command) (field protowire.Number, m message) {
	switch c := c.(type) {
	case *core.MemberAdd:
		return fieldMemberAdd, &commandpb.MemberAdd{Member: memberToPB(&c.Member), MaxLearners: int64(c.MaxLearners)}
	case *core.MemberRemove:
		return fieldMemberRemove, &commandpb.MemberRemove{Id: uint64(c.ID)}
	case *core.MemberPromote:
		return fieldMemberPromote, &commandpb.MemberPromote{Id: uint64(c.ID)}
	case *core.HashMark:
		return fieldHashMark, &commandpb.HashMark{Id: c.ID}
	case *core.SetEnsemble:
		return fieldSetEnsemble, &commandpb.SetEnsemble{Session: sessionToPB(c.Session), Servers: c.Servers, From: int64(c.From)}
	}
	return 0, nil
}

func decodeMemberCommand(field protowire.Number, body []byte) (core.Command, error) {
	switch field {
	case fieldMemberAdd:
		var m commandpb.MemberAdd
		if err := m.UnmarshalVT(body); err != nil {
			return nil, err
		}
		if m.Member == nil {
			return nil, fmt.Errorf("%w: a new member without a description", ErrMalformed)
		}
		return &core.MemberAdd{Member: memberFromPB(m.Member), MaxLearners: int(m.MaxLearners)}, nil
	case fieldMemberRemove:
		var m commandpb.MemberRemove
		err := m.UnmarshalVT(body)
		return &core.MemberRemove{ID: core.MemberID(m.Id)}, err
	case fieldMemberPromote:
		var m commandpb.MemberPromote
		err := m.UnmarshalVT(body)
		return &core.MemberPromote{ID: core.MemberID(m.Id)}, err
	case fieldMemberUpdate:
		var m commandpb.MemberUpdate
		err := m.UnmarshalVT(body)
		return &core.MemberUpdate{ID: core.MemberID(m.Id), PeerURLs: m.PeerUrls}, err
	case fieldHashMark:
		var m commandpb.HashMark
		err := m.UnmarshalVT(body)
		return &core.HashMark{ID: m.Id}, err
	default:
		var m commandpb.SetEnsemble
		err := m.UnmarshalVT(body)
		return &core.SetEnsemble{Session: sessionFromPB(m.Session), Servers: m.Servers, From: core.Rev(m.From)}, err
	}
}
