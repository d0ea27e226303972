package crm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Names that need no escaping anywhere, next to some that do: a mapping that breaks on them should break in a test.
var (
	firstNames = [...]string{
		"Ada", "Bela", "Chidi", "Dana", "Emre", "Farah", "Goran", "Hana", "Iris", "Jonas", "Kofi", "Léa", "Mina", "Noor",
		"Otto", "Priya", "Quinn", "Rosa", "Søren", "Tariq", "Uma", "Vera", "Wen", "Ximena", "Yara", "Zoë",
	}
	lastNames = [...]string{
		"Abara", "Bauer", "Castillo", "D'Souza", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanova", "Jensen", "Kowalski",
		"Lindqvist", "Moreau", "Nakamura", "O'Brien", "Petrov", "Quispe", "Rossi", "Sato", "Tanaka", "Ueda", "Varga", "Weiß",
		"Xu", "Yilmaz", "Zhang",
	}
	companies = [...]string{
		"Northwind", "Globex", "Initech", "Umbra & Sons", "Stark Tooling", "Wayfarer", "Hooli", "Vandelay", "Blue Harbor",
		"Cyberdyne", "Octan", "Tyrell",
	}
	stages = [...]string{"new", "qualified", "proposal", "won", "lost"}
)

// seedStart is when the first generated contact was created. Later ones follow 37 minutes apart, so a million of them
// would reach into the future; the default 250 end a week later.
var seedStart = time.Date(2024, 1, 1, 9, 0, 0, 0, time.UTC)

// draw gives the random source of one generated thing, so that it does not depend on how many others there are.
func draw(seed uint64, kind byte, number int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(kind)<<56|uint64(number)))
}

func pick(rnd *rand.Rand, from []string) string { return from[rnd.IntN(len(from))] }

// SeededContact generates contact number (from 1). Mail domains end in .example and phone numbers lie in 555-0100…0199,
// both reserved for fiction (RFC 2606, North American Numbering Plan).
func SeededContact(seed uint64, number int) Contact {
	rnd := draw(seed, 'c', number)
	first, last, company := pick(rnd, firstNames[:]), pick(rnd, lastNames[:]), pick(rnd, companies[:])
	created := seedStart.Add(time.Duration(number-1)*37*time.Minute + time.Duration(rnd.IntN(60_000))*time.Millisecond)
	return Contact{
		ID: contactID(number), FirstName: first, LastName: last, Company: company,
		Email:     fmt.Sprintf("%s.%s.%d@%s.example", letters(first), letters(last), number, letters(company)),
		Phone:     seededPhone(rnd),
		CreatedAt: created, UpdatedAt: created.Add(time.Duration(rnd.IntN(72)) * time.Hour),
	}
}

func seededPhone(rnd *rand.Rand) string {
	return fmt.Sprintf("+1 %d 555 01%02d", 201+rnd.IntN(700), rnd.IntN(100))
}

// letters keeps a–z of the name in lower case.
func letters(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			return c
		}
		return -1
	}, strings.ToLower(name))
}

// Deal is what a contact may buy. Deals are read-only and follow from the seed; there is one for every five contacts.
type Deal struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	ContactID string `json:"contact_id"`
	// AmountCents is in hundredths of Currency.
	AmountCents int       `json:"amount_cents"`
	Currency    string    `json:"currency"`
	Stage       string    `json:"stage"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// SeededDeal generates deal number (from 1), which belongs to one of the generated contacts.
func SeededDeal(seed uint64, number, contacts int) Deal {
	rnd := draw(seed, 'd', number)
	contact := SeededContact(seed, 1+rnd.IntN(contacts))
	created := contact.CreatedAt.Add(time.Duration(rnd.IntN(500)) * time.Hour)
	return Deal{
		ID: fmt.Sprintf("deal_%06d", number), Name: fmt.Sprintf("%s %d", contact.Company, number), ContactID: contact.ID,
		AmountCents: 10_000 + rnd.IntN(5_000_000), Currency: pick(rnd, []string{"EUR", "USD", "GBP"}), Stage: pick(rnd, stages[:]),
		CreatedAt: created, UpdatedAt: created.Add(time.Duration(rnd.IntN(200)) * time.Hour),
	}
}
