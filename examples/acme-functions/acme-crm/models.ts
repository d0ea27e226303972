import { z } from 'zod';

/** A contact as the app gets it, whatever the CRM calls its fields. */
export const Contact = z.object({
    id: z.string(),
    name: z.string(),
    email: z.string().nullable(),
    company: z.string().nullable(),
    updatedAt: z.string()
});

/** A contact as Acme CRM answers it. */
export const AcmeContact = z.object({
    id: z.string(),
    first_name: z.string(),
    last_name: z.string(),
    email: z.string().nullish(),
    company: z.string().nullish(),
    updated_at: z.string(),
    deleted: z.boolean().optional()
});

export function toContact(raw: z.infer<typeof AcmeContact>): z.infer<typeof Contact> {
    return {
        id: raw.id,
        name: `${raw.first_name} ${raw.last_name}`.trim(),
        email: raw.email ?? null,
        company: raw.company ?? null,
        updatedAt: raw.updated_at
    };
}
