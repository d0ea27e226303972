package input

import "regexp"

// The identifiers of the wire contract.
var (
	// IntegrationKey is an integration's unique key, also called provider config key.
	IntegrationKey = Text{Required: true, Min: 1, Max: 255, Pattern: regexp.MustCompile(`^[a-zA-Z0-9~:.@ _-]+$`)}
	// ConnectionID is a connection's public id.
	ConnectionID = Text{Required: true, Min: 1, Max: 255, Pattern: regexp.MustCompile(`^[a-zA-Z0-9,.;:=+~[\]|@${}"'\\/_ -]+$`)}
	// Name is the name of a provider, function, script or variant.
	Name = Text{Required: true, Min: 1, Max: 255, Pattern: regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)}
	// Model is a record model: a capital first, at least two characters.
	Model = Text{Required: true, Max: 255, Pattern: regexp.MustCompile(`^[A-Z][a-zA-Z0-9_-]+$`)}
	// UUID is any RFC 9562 UUID in its usual form.
	UUID = Text{Required: true, Pattern: regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)}
)

// Optional is the same rule for a value that may be missing.
func Optional(rule Text) Text {
	rule.Required = false
	return rule
}
