package node

// answerers are who answers what. A part of the member that asks its peers something
// adds its line here.
func (n *Node) answerers() map[questionKind]answerer {
	return map[questionKind]answerer{
		askHash:    n.corruption.answer,
		askRenew:   n.leases.renewals.answerRenew,
		askMembers: n.answerChange(false),
		askLease:   n.leases.renewals.answerLease,

		askStatus: n.answerStatus,

		askMembersLoosely: n.answerChange(true),
	}
}
