package connection

import (
	"maps"
	"strings"
)

// Limits of tags, from the wire contract.
const (
	MaxTags      = 10
	maxTagKey    = 64
	maxTagLength = 255
)

// TagsFrom derives tags from an end user and lays the given ones over them. The end user's own tags are dropped when the
// total would exceed MaxTags.
func TagsFrom(user *EndUser, given map[string]string) map[string]string {
	tags := map[string]string{}
	set := func(key string, value *string) {
		if value != nil && *value != "" {
			tags[key] = cut(*value, maxTagLength)
		}
	}
	if user != nil {
		set("end_user_id", &user.ID)
		set("end_user_email", user.Email)
		set("end_user_display_name", user.DisplayName)
		if user.Organization != nil {
			set("organization_id", &user.Organization.ID)
			set("organization_display_name", user.Organization.DisplayName)
		}
		all := maps.Clone(tags)
		for key, value := range user.Tags {
			if value != "" {
				all[cut(strings.ToLower(key), maxTagKey)] = cut(value, maxTagLength)
			}
		}
		maps.Copy(all, given)
		if len(all) <= MaxTags {
			return all
		}
	}
	maps.Copy(tags, given)
	return tags
}

func cut(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit])
	}
	return s
}
