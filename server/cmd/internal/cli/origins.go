package cli

import "net/http"

// Origins returns the function of a flag that sets field to comma-separated origins, or * for all.
func Origins(field *[]string) func(string) error {
	return func(text string) error {
		var origins List
		origins.Set(text)
		var protection http.CrossOriginProtection
		for _, origin := range origins {
			if err := protection.AddTrustedOrigin(origin); err != nil && origin != "*" {
				return err
			}
		}
		*field = origins
		return nil
	}
}
